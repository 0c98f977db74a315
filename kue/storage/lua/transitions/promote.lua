--[[
  promote: delayed -> inactive, for all due jobs. Also runs the maintenance of limits, see include/limits/maintenance.lua.

  ARGV[3] limit   maximum number of jobs per call
  Returns    {promoted, ms until the next call is due or -1: there is nothing to wait for}
  Publishes  promotion and enqueue for each
  Node Kue   Queue#checkJobPromotion (lib/kue.js). It writes from a copy that it read earlier. While it holds its
             lock, nothing is promoted here, or it could move jobs that are already active back to inactive.
]]
--- @include "sets"
--- @include "batch_args"
--- @include "limits/maintenance"
local LOCKED_MS = 50   -- how soon to check again while Node promotes
local LIMITS_MS = 80   -- how soon if there are limits
local most_ms = tend_limits() and LIMITS_MS or math.huge
-- In a Cluster that key is in another slot, which a script cannot access.
if not string.find(prefix, '{', 1, true) and redis.call('EXISTS', 'promotion:lock') == 1 then return {0, LOCKED_MS} end
local limit, delayed, inactive = tonumber(ARGV[3]), state_key('delayed'), state_key('inactive')
local leaving, entering, tokens, ready, types = {}, {}, {}, {}, {}
for _, zid in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now_text, 'LIMIT', 0, limit)) do
  local id = id_of(zid)
  local field = redis.call('HMGET', job_key(id), 'type', 'state', 'priority')
  if not field[1] then
    erase(id, zid, false, false)
  else
    local type, priority = field[1], field[3] or '0'
    local of = types[type]
    if not of then
      of = {delayed = type_key(type, 'delayed'), inactive = type_key(type, 'inactive'), tokens = tokens_key(type),
        args = ',' .. json(type)}
      types[type] = of
    end
    gather(leaving, delayed, zid)
    gather(leaving, of.delayed, zid)
    if field[2] == 'delayed' then
      redis.call('HSET', job_key(id), 'state', 'inactive', 'updated_at', now_text)
      gather(entering, inactive, priority, zid)
      gather(entering, of.inactive, priority, zid)
      gather(tokens, of.tokens, '1')
      ready[#ready + 1] = {id, of.args}
    end
  end
end
write_out('ZREM', leaving)
write_out('ZADD', entering)
write_out('LPUSH', tokens)
for _, job in ipairs(ready) do
  publish(job[1], 'promotion', '')
  publish(job[1], 'enqueue', job[2])
end
local next_due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local next_ms = math.min(most_ms, next_due[2] and math.max(0, tonumber(next_due[2]) - now) or math.huge)
return {#ready, next_ms < math.huge and next_ms or -1}
