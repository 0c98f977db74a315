--[[
  isolate: an attempt starts running alone in its worker, or still waits to; with a ttl, restart it.

  ARGV[3] id   ARGV[4] token   ARGV[5] line for the log, or ''
  ARGV[6] 1: its worker process runs nothing else meanwhile, so if the process dies, this job is the cause (rescue.lua)
  Returns    1 recorded, -1 no such job, -2 the attempt no longer holds it
  Publishes  nothing
]]
--- @include "attempts/fencing"
local id, token, line, alone = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local key = job_key(id)
local field = redis.call('HMGET', key, 'type', 'state', 'token', 'ttl')
if not field[1] then return GONE end
if not may_write(id, token, field[2], field[3]) then return LOST end
if alone == '1' then redis.call('HSET', key, 'alone', token) end
if line ~= '' and redis.call('LINDEX', log_key(id), -1) ~= line then append_log(id, line) end   -- else the call was repeated
if tonumber(field[4] or '') then redis.call('ZADD', state_key('active'), whole(now + tonumber(field[4])), zid_of(id)) end
return OK
