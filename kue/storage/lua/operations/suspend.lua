--[[
  suspend: inactive, delayed or active -> delayed without a due time, until somebody promotes it. A worker that holds the job
  loses it and is notified; the attempt is not counted.

  ARGV[3] id
  Returns    {1, its previous state}, {-1} no such job, {-3, state} it had already ended
  Publishes  postpone ["Paused", time]
]]
--- @include "flows/parents"
local id = ARGV[3]
local key, zid, type, state, priority = locate(id)
if not type then return {-1} end
if state == 'complete' or state == 'failed' then return {-3, state} end
local promote_at = redis.call('HGET', key, 'promote_at')
if state == 'delayed' and promote_at == HOLD_UNTIL_MS then return {1, state} end
if state then leave(zid, type, state) end
revoke(id, 'paused')
append_log(id, 'Paused')
redis.call('HSET', key, 'promote_at', HOLD_UNTIL_MS)
redis.call('HDEL', key, 'suspended_wait')
if state == 'delayed' and promote_at == WAIT_UNTIL_MS then redis.call('HSET', key, 'suspended_wait', '1') end
enter(id, zid, type, 'delayed', priority, HOLD_UNTIL_MS)
publish(id, 'postpone', ',"Paused",' .. HOLD_UNTIL_MS)
return {1, state or ''}
