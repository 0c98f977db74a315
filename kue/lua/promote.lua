--[[
  promote: delayed -> inactive, for all jobs whose time has come.

  ARGV[3] limit   jobs in one call
  Returns    {promoted, ms until the next is due or -1}
  Publishes  promotion and enqueue for each
  Node Kue   Queue#checkJobPromotion (lib/kue.js). Atomic, so that neither its lock nor ours is needed: a job that Node's
             promoter moves at the same time is no longer in q:jobs:delayed here, or already inactive there.
]]
--- @include "sets"
local limit, delayed, promoted = tonumber(ARGV[3]), state_key('delayed'), 0
for _, zid in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now_text, 'LIMIT', 0, limit)) do
  local id = id_of(zid)
  local field = redis.call('HMGET', job_key(id), 'type', 'state', 'priority')
  if not field[1] then
    erase(id, zid, false, false)
  elseif field[2] ~= 'delayed' then
    leave(zid, field[1], 'delayed')
  else
    leave(zid, field[1], 'delayed')
    publish(id, 'promotion', '')
    enqueue(id, zid, field[1], field[3] or '0')
    promoted = promoted + 1
  end
end
local next_due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
return {promoted, next_due[2] and math.max(0, tonumber(next_due[2]) - now) or -1}
