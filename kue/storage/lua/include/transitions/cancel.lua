--- @lazy
--- @include "flows/parents"
-- Fail a job that has not ended, with the error "Cancelled". A worker that holds it loses it, and is notified on q:revoked
-- with `reason`. Return {1, its previous state}, {-1} no such job, {-3, state} it had already ended.
local function cancel(id, reason)
  local key, zid, type, state, priority = locate(id)
  if not type then return {-1} end
  if state == 'complete' or state == 'failed' then return {-3, state} end
  if state then leave(zid, type, state) end
  revoke(id, reason)
  redis.call('HSET', key, 'error', 'Cancelled', 'failed_at', now_text)
  append_log(id, 'Cancelled')
  enter(id, zid, type, 'failed', priority)
  publish(id, 'cancel', '')
  publish(id, 'error', ',"Cancelled"')
  publish(id, 'failed', ',"Cancelled",null')
  settle(id, 'failed', 'Cancelled')
  return {1, state or ''}
end
