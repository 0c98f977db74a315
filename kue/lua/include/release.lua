--- @include "held"
-- active -> inactive, the attempt not counted.
local function release(id, token, reason)
  local job, code = held(id, token)
  if not job then return code end
  append_log(id, reason)
  record_attempt(job, 'released', reason)
  leave_active(job)
  enqueue(id, job.zid, job.type, job.priority)
  return OK
end
