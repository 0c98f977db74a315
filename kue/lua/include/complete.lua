--- @include "held"
-- active -> complete. `result` is JSON as the event shows it ("null" for none); `kept` tells whether the hash keeps it:
-- Node stores truthy results only.
local function complete(id, token, result, kept)
  local job, code = held(id, token)
  if not job then return code end
  local key, duration = job_key(id), whole(math.max(0, now - job.started_at))
  leave_active(job)
  redis.call('INCRBY', prefix .. ':stats:work-time', duration)
  if job.remove_on_complete then
    erase(id, job.zid, job.type, 'complete')
    publish(id, 'complete', ',' .. result .. ',null')
    publish(id, 'remove', ',' .. json(job.type))
    return OK
  end
  redis.call('HSET', key, 'duration', duration, 'progress', '100', 'state', 'complete', 'updated_at', now_text)
  if kept == '1' then redis.call('HSET', key, 'result', result) end
  if job.attempts < job.max_attempts then redis.call('HINCRBY', key, 'attempts', 1) end
  redis.call('ZADD', state_key('complete'), job.priority, job.zid)
  redis.call('ZADD', type_key(job.type, 'complete'), job.priority, job.zid)
  publish(id, 'complete', ',' .. result .. ',null')
  return OK
end
