--[[
  sweep_flows: count children that ended or disappeared without a script of this library: run by a Node worker, removed by
  Node or by hand. Checks some parents, and some children of each; the next call continues.

  ARGV[3] interval, ms: within it, calls after the first do nothing; 0: always run
  Returns    the number of parents checked, or -1 if it was done within the interval
  Publishes  the events of include/flows/parents.lua
]]
--- @include "flows/parents"
local PARENTS, CHILDREN = 20, 100
local period, clock_key = tonumber(ARGV[3]), prefix .. ':clock'
local field = redis.pcall('HMGET', clock_key, 'flows_swept', 'flows_at')
if fault_of(field) then return 0 end   -- a key of another type: see clock.lua
local last, at = number_of(field[1]), number_of(field[2]) or 0
if period > 0 and last and last <= now and now - last < period then return -1 end
local parents = redis.call('ZRANGEBYSCORE', state_key('delayed'), WAIT_UNTIL_MS, WAIT_UNTIL_MS, 'LIMIT', at, PARENTS)
if #parents == 0 and at == 0 then return 0 end
for _, zid in ipairs(parents) do
  local parent = id_of(zid)
  local key, pending = children_key(parent), pending_children(parent)
  local from = pending > CHILDREN and now % (pending - CHILDREN + 1) or 0
  for _, child in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', '(0', 'LIMIT', from, CHILDREN)) do
    local job = redis.call('HMGET', job_key(child), 'type', 'state', 'error', 'parents')
    if not job[1] then
      settle(child, 'removed', '', parent)
    elseif job[2] == 'complete' or job[2] == 'failed' then
      settle(child, job[2], string.match(job[3] or '', '^[^\n]*'), job[4])
    end
  end
  if pending == 0 then   -- its last child was counted by a script that does not release parents
    local own = redis.call('HMGET', job_key(parent), 'type', 'state', 'priority', 'on_child_failure', 'delay', 'promote_at')
    if own[1] and own[2] == 'delayed' and own[6] == WAIT_UNTIL_MS then
      local message = review_parent(parent, own[1], own[3] or '0', own[4] or 'fail', own[5])
      if message then settle(parent, 'failed', message) end
    end
  end
end
redis.call('HSET', clock_key, 'flows_swept', now_text, 'flows_at', #parents == PARENTS and at + PARENTS or 0)
return #parents
