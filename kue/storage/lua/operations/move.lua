--[[
  move: move a job to a state on request. A worker that holds the job loses it.

  ARGV[3] id   ARGV[4] state to move to   ARGV[5] states to move from, as ",failed,delayed,", or '' for any
  Returns    {1, its previous state}, {-1} no such job, {-3, state} it is in another state
  Publishes  enqueue if it becomes inactive
  Node Kue   Job#state (lib/queue/job.js), which uses the caller's copy, while this reads the hash
]]
--- @include "flows/parents"
local id, to, from = ARGV[3], ARGV[4], ARGV[5]
local key, zid, type, state, priority = locate(id)
if not type then return {-1} end
if from ~= '' and not string.find(from, ',' .. (state or '') .. ',', 1, true) then return {-3, state or ''} end
if state then leave(zid, type, state) end
revoke(id, 'moved')
redis.call('ZADD', all_key, priority, zid)
local field = redis.call('HMGET', key, 'ttl', 'promote_at', 'suspended_wait', 'on_child_failure')
local ttl, promote_at = field[1], field[2]
local kept, waited = promote_at, promote_at == HOLD_UNTIL_MS and field[3]
if promote_at == HOLD_UNTIL_MS and to == 'inactive' and (waited or pending_children(id) > 0) then
  to, promote_at = 'delayed', WAIT_UNTIL_MS   -- no longer suspended, but still waiting for children
elseif promote_at == HOLD_UNTIL_MS or promote_at == WAIT_UNTIL_MS or promote_at == ASIDE_UNTIL_MS then
  promote_at = now_text
end
if promote_at ~= kept then redis.call('HSET', key, 'promote_at', promote_at) end
if state == 'failed' and to ~= 'failed' then
  redis.call('HDEL', key, 'failed_child')
  unsettle(id)
end
place(id, zid, type, to, priority, ttl, promote_at)
if to == 'complete' or to == 'failed' then settle(id, to, 'it was moved by hand') end
if waited and to == 'delayed' then   -- its children may have ended meanwhile
  local message = review_parent(id, type, priority, field[4] or 'fail', nil)
  if message then settle(id, 'failed', message) end
end
return {1, state or ''}
