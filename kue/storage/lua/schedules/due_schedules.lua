--[[
  due_schedules: return the schedules that are due.

  ARGV[3] limit    maximum number of schedules
  Returns    {server's epoch ms, when the next one is due or -1, {name, its hash …} of each}
             Invalid entries (no hash, or a key of another type) are removed from the set.
  Publishes  nothing
]]
--- @include "schedules"
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', schedules_key, '-inf', now_text, 'LIMIT', 0, tonumber(ARGV[3]))) do
  local raw = redis.pcall('HGETALL', schedule_key(name))
  if fault_of(raw) or #raw == 0 then
    redis.call('ZREM', schedules_key, name)
  else
    found[#found + 1] = {name, raw}
  end
end
local following = redis.call('ZRANGEBYSCORE', schedules_key, '(' .. now_text, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {tonumber(now_text), following[2] and tonumber(following[2]) or -1, found}
