--[[
  renew: extend all leases of one process.

  ARGV[3] lease_ms   ARGV[4…] id and token of each running job
  Returns    the ids whose lease the process has lost
]]
--- @include "attempts/fencing"
-- A full server refuses commands that may use memory, unless the script has freed some first. Leases must not expire then.
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
