--[[
  take_slot: let a running attempt take one of a number of slots shared by all processes. A holder whose attempt has ended no
  longer counts, so nothing has to free the slots of a process that died.

  ARGV[3] name of the slots   ARGV[4] id   ARGV[5] token   ARGV[6] number of slots
  Returns    0 taken (also if it was before), else the number of holders
  Publishes  nothing
]]
--- @include "common"
local KEPT_S = 7 * 24 * 3600   -- after the last one was taken
local key, member, slots = prefix .. ':slots:' .. ARGV[3], ARGV[4] .. ' ' .. ARGV[5], tonumber(ARGV[6])
if redis.call('SISMEMBER', key, member) == 1 then return 0 end
local taken = redis.call('SCARD', key)
if taken >= slots then
  for _, each in ipairs(redis.call('SMEMBERS', key)) do
    local id, token = string.match(each, '^(%S*) (.*)$')
    local field = redis.call('HMGET', job_key(id), 'state', 'token')
    if field[1] ~= 'active' or field[2] ~= token or not redis.call('ZSCORE', leases_key, id) then
      redis.call('SREM', key, each)
      taken = taken - 1
    end
  end
end
if taken >= slots then return taken end
redis.call('SADD', key, member)
redis.call('EXPIRE', key, KEPT_S)
return 0
