--[[
  cancel: inactive, delayed or active -> failed, with the error "Cancelled". A worker that holds the job loses it and is
  notified on q:revoked.

  ARGV[3] id   ARGV[4] reason for its worker: cancelled, or discarded (keep nothing)
  ARGV[5] 1: also its descendants (include/flows/descendants.lua), even if the job itself has ended
  Returns    {1, its previous state}, {-1} no such job, {-3, state} it had already ended
  Publishes  cancel, error, failed
]]
--- @include "transitions/cancel"
--- @include "flows/descendants"
local result = cancel(ARGV[3], ARGV[4])
if ARGV[5] == '1' and result[1] ~= -1 then
  for _, id in ipairs(descendants(ARGV[3])) do cancel(id, ARGV[4]) end
end
return result
