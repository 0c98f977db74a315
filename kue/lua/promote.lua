--[[
  promote: delayed -> inactive, for all jobs whose time has come.

  ARGV[3] limit   jobs in one call
  Returns    {promoted, ms until the next is due or -1}
  Publishes  promotion and enqueue for each
  Node Kue   Queue#checkJobPromotion (lib/kue.js). Its promoter reads, and writes later from its copy; while it holds its
             lock nothing is promoted here, or it would put jobs that are active by then back to inactive.
]]
--- @include "sets"
local LOCKED_MS = 50   -- how soon to look again while Node promotes
-- A Cluster has that key in another slot, out of a script's reach.
if not string.find(prefix, '{', 1, true) and redis.call('EXISTS', 'promotion:lock') == 1 then return {0, LOCKED_MS} end
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
