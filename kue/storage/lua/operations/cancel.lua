--[[
  cancel: inactive, delayed or active -> failed, with the error "Cancelled". A worker that holds the job loses it and is
  notified on q:revoked.

  ARGV[3] id   ARGV[4] what its worker receives: cancelled, or discarded if nothing of it is to stay
  ARGV[5] 1: also what it waits for, and so on, as in include/descendants.lua, whatever state it is in itself
  Returns    {1, state it was in}, {-1} no such job, {-3, state} it had ended already
  Publishes  cancel, error, failed
]]
--- @include "descendants"
local reason = ARGV[4]

local function cancel(id)
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

local result = cancel(ARGV[3])
if ARGV[5] == '1' and result[1] ~= -1 then
  for _, id in ipairs(descendants(ARGV[3])) do cancel(id) end
end
return result
