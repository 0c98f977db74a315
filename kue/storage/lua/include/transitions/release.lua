--- @lazy
--- @include "attempts/fencing"
--- @include "attempts/history"
--- @include "flows/parents"
-- active -> inactive, or delayed: for `delay` ms, or with 'children' until its children have ended. The attempt is not counted.
-- Only `promote_at` changes: the job's own `delay` stays the base of its backoff.
local function release(id, token, reason, delay)
  local job, code = end_attempt(id, token)
  if not job then return code end
  append_log(id, reason)
  leave(job.zid, job.type, 'active')
  if not delay or delay == '' then
    record_attempt(job, 'released', reason)
    enqueue(id, job.zid, job.type, job.priority)
    return OK
  end
  if job.deaths then clear_suspicion(job) end
  if delay == 'children' then
    record_attempt(job, 'waiting', reason)
    redis.call('HSET', job_key(id), 'promote_at', WAIT_UNTIL_MS)
    enter(id, job.zid, job.type, 'delayed', job.priority, WAIT_UNTIL_MS)
    publish(id, 'postpone', ',' .. json(reason) .. ',' .. WAIT_UNTIL_MS)
    local policy = redis.call('HGET', job_key(id), 'on_child_failure') or 'fail'
    local message = review_parent(id, job.type, job.priority, policy, nil)
    if message and job.parents then settle(id, 'failed', message, job.parents) end
    return OK
  end
  record_attempt(job, 'postponed', reason)
  local promote_at = whole(now + tonumber(delay))
  redis.call('HSET', job_key(id), 'promote_at', promote_at)
  enter(id, job.zid, job.type, 'delayed', job.priority, promote_at)
  publish(id, 'postpone', ',' .. json(reason) .. ',' .. promote_at)
  return OK
end
