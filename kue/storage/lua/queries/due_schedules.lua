--[[
  due_schedules: the schedules whose time has come.

  ARGV[3] limit    schedules in one answer
  Returns    {server's epoch ms, when the next one is due or -1, {name, its hash …} of each}
             What is no schedule any more leaves the set: without a hash, or with a key of another kind.
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
