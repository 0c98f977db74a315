--- @include "fencing"
-- active -> inactive, or delayed for `delay` ms if that is not ''; the attempt not counted. `promote_at` is all that the
-- delay changes: the job's own `delay` goes on being what its backoff counts from.
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
  record_attempt(job, 'postponed', reason)
  local promote_at = whole(now + tonumber(delay))
  redis.call('HSET', job_key(id), 'promote_at', promote_at)
  enter(id, job.zid, job.type, 'delayed', job.priority, promote_at)
  publish(id, 'postpone', ',' .. json(reason) .. ',' .. promote_at)
  return OK
end
