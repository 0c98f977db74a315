--[[
  progress: record an attempt's progress; with a ttl, restart it.

  ARGV[3] id   ARGV[4] token, or '' from outside an attempt   ARGV[5] percent
  ARGV[6] data (JSON) for the event   ARGV[7] 1 if there is data to keep in the hash
  Returns    1 recorded, -1 no such job, -2 the attempt no longer holds it
  Publishes  progress
  Node Kue   Job#progress (lib/queue/job.js)
]]
--- @include "attempts/fencing"
local id, token, percent, data, kept = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local key = job_key(id)
local field = redis.call('HMGET', key, 'type', 'state', 'token', 'ttl')
if not field[1] then return GONE end
if not may_write(id, token, field[2], field[3]) then return LOST end
redis.call('HSET', key, 'progress', percent, 'updated_at', now_text)
if kept == '1' then redis.call('HSET', key, 'progress_data', data) end
if field[2] == 'active' and tonumber(field[4] or '') then
  redis.call('ZADD', state_key('active'), whole(now + tonumber(field[4])), zid_of(id))
end
publish(id, 'progress', ',' .. percent .. ',' .. data)
return OK
