--[[
  cancel: inactive, delayed or active -> failed, with the error "Cancelled". A worker that holds the job loses it and is
  notified on q:revoked.

  ARGV[3] id   ARGV[4] what its worker receives: cancelled, or discarded if nothing of it is to stay
  ARGV[5] 1: also what it waits for, and so on, as in include/descendants.lua, whatever state it is in itself
  Returns    {1, state it was in}, {-1} no such job, {-3, state} it had ended already
  Publishes  cancel, error, failed
]]
--- @include "cancel"
--- @include "descendants"
local result = cancel(ARGV[3], ARGV[4])
if ARGV[5] == '1' and result[1] ~= -1 then
  for _, id in ipairs(descendants(ARGV[3])) do cancel(id, ARGV[4]) end
end
return result
