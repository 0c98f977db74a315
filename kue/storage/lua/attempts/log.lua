--[[
  log: append a line to a job's log.

  ARGV[3] id   ARGV[4] token, or '' from outside an attempt   ARGV[5] line
  ARGV[6] 1: a retry after a lost reply; does nothing if this is already the last line
  Returns    1 appended, -1 no such job, -2 the attempt no longer holds it
  Publishes  nothing, as Node
  Node Kue   Job#log (lib/queue/job.js)
]]
--- @include "attempts/fencing"
local id, token, line = ARGV[3], ARGV[4], ARGV[5]
local field = redis.call('HMGET', job_key(id), 'type', 'state', 'token')
if not field[1] then return GONE end
if not may_write(id, token, field[2], field[3]) then return LOST end
if ARGV[6] == '1' and redis.call('LINDEX', log_key(id), -1) == line then return OK end
append_log(id, line)
redis.call('HSET', job_key(id), 'updated_at', now_text)
return OK
