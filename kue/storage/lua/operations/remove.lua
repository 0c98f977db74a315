--[[
  remove: remove a job and everything that belongs to it, in any state. A worker that holds it can no longer write to it,
  so a removed job never reappears.

  ARGV[3] id   ARGV[4] 1: only clean up after a job that does not exist
  ARGV[5] 1: also its descendants, as in include/flows/descendants.lua
  Returns    1 removed, -1 no such job (leftovers in the sets are removed all the same, as in Node)
  Publishes  remove
  Node Kue   Job#remove (lib/queue/job.js)
]]
--- @include "flows/descendants"
local function remove(id)
  local field = redis.call('HMGET', job_key(id), 'type', 'state', 'parents')
  erase(id, zid_of(id), field[1], field[1] and field[2])
  if not field[1] then return -1 end
  publish(id, 'remove', ',' .. json(field[1]))
  settle(id, 'removed', '', field[3] or '')
  return 1
end

local id = ARGV[3]
if ARGV[4] == '1' and redis.call('HEXISTS', job_key(id), 'type') == 1 then return 1 end
local below = ARGV[5] == '1' and descendants(id) or {}
local code = remove(id)
for _, child in ipairs(below) do remove(child) end
return code
