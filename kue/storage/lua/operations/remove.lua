--[[
  remove: take a job and all that belongs to it away, in whatever state it is. A worker that holds it can write nothing
  more, so a removed job never comes back.

  ARGV[3] id   ARGV[4] 1: only tidy up after a job that is not there
  ARGV[5] 1: also what it waits for, and so on, as in include/descendants.lua
  Returns    1 removed, -1 no such job (its leavings in the sets are cleared away all the same, as Node does)
  Publishes  remove
  Node Kue   Job#remove (lib/queue/job.js)
]]
--- @include "descendants"
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
