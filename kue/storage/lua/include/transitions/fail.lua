--- @lazy
--- @include "attempts/fencing"
--- @include "attempts/history"
--- @include "flows/parents"
-- active -> inactive, delayed or failed.
-- The lease has already been removed.
--   failure.error    the stack or message, for the hash and the `error` event
--   failure.line     the line for the job's log
--   failure.message  for the events `failed attempt` and `failed`
--   failure.retry    'now', 'wait' or 'never'
--   failure.delay    ms to wait with 'wait'; '' leaves promote_at unchanged, so the job is due immediately
--   failure.note     one more log line, or ''
--   failure.crashed  '1': the child process that ran it died; a suspect stays one
local function fail_held(job, failure, ack)
  local id, key = job.id, job_key(job.id)
  local stack = failure.error ~= failure.message and failure.error or nil
  local fields = {'error', failure.error, 'failed_at', now_text,
    'attempt_log', attempts_with(job, 'failed', failure.message, stack)}
  local made = job.attempts
  if made < job.max_attempts then
    made = made + 1
    fields[7], fields[8] = 'attempts', whole(made)
  end
  redis.call('HSET', key, unpack(fields))
  append_log(id, failure.line)
  if failure.note ~= '' then append_log(id, failure.note) end
  leave(job.zid, job.type, 'active')
  publish(id, 'error', ',' .. json(failure.error))
  if ack then publish(id, 'ttl exceeded ack', '') end

  if made >= job.max_attempts or failure.retry == 'never' then
    enter(id, job.zid, job.type, 'failed', job.priority)
    publish(id, 'failed', ',' .. json(failure.message) .. ',null')
    if job.parents then settle(id, 'failed', failure.message, job.parents) end
    return
  end
  if failure.retry == 'now' then
    enqueue(id, job.zid, job.type, job.priority)
  else
    local promote_at
    if failure.delay == '' then
      promote_at = redis.call('HGET', key, 'promote_at') or now_text
      if promote_at == ASIDE_UNTIL_MS then promote_at = now_text end   -- Node promoted it while it was set aside
    else
      promote_at = whole(now + tonumber(failure.delay))
      redis.call('HSET', key, 'delay', failure.delay, 'promote_at', promote_at)
    end
    enter(id, job.zid, job.type, 'delayed', job.priority, promote_at)
  end
  publish(id, 'failed attempt', ',' .. json(failure.message) .. ',' .. made)
end

local function fail(id, token, failure)
  local job, code = end_attempt(id, token)
  if not job then return code end
  if job.deaths and failure.crashed ~= '1' then clear_suspicion(job) end
  fail_held(job, failure, false)
  return OK
end
