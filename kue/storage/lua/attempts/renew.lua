--[[
  renew: put off the end of the leases of one process, in one call.

  ARGV[3] lease_ms   ARGV[4…] id and token of each running job
  Returns    the ids that the process no longer holds
]]
--- @include "fencing"
-- A server that is full refuses what may add, unless the script has already taken away: leases must not expire for that.
redis.call('ZREM', leases_key, '')
local lease_until, lost = whole(now + tonumber(ARGV[3])), {}
for at = 4, #ARGV, 2 do
  local id = ARGV[at]
  local field = redis.call('HMGET', job_key(id), 'token', 'state')
  if field[2] == 'active' and field[1] == ARGV[at + 1] and is_leased(id) then
    redis.call('ZADD', leases_key, lease_until, id)
  else
    lost[#lost + 1] = id
  end
end
return lost
