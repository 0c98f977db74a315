--[[
  cancel: inactive, delayed or active -> failed, with the error "Cancelled". A worker that holds the job loses it and is
  notified on q:revoked.

  ARGV[3] id   ARGV[4] what its worker receives: cancelled, or discarded if nothing of it is to stay
  Returns    {1, state it was in}, {-1} no such job, {-3, state} it had ended already
  Publishes  cancel, error, failed
]]
--- @include "flows"
local id = ARGV[3]
local key, zid, type, state, priority = locate(id)
if not type then return {-1} end
if state == 'complete' or state == 'failed' then return {-3, state} end
if state then leave(zid, type, state) end
revoke(id, ARGV[4])
redis.call('HSET', key, 'error', 'Cancelled', 'failed_at', now_text)
append_log(id, 'Cancelled')
enter(id, zid, type, 'failed', priority)
publish(id, 'cancel', '')
publish(id, 'error', ',"Cancelled"')
publish(id, 'failed', ',"Cancelled",null')
settle(id, 'failed', 'Cancelled')
return {1, state or ''}
