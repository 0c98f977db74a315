--[[
  create_flow: - -> inactive or delayed, for jobs some of which wait for others: all or none.

  ARGV[3] lane   ARGV[4] sequence   ARGV[5] count   and for each job 8 values, as for create.lua
  then  1 with search, or 0
        for each job: the numbers of its parents in this call, from 0, comma-separated; "r" is the running job below
        with search, for each job: its search terms, as in include/search.lua, or ''
        the number of jobs with children, and for each its number, and what to do if a child fails: fail, ignore, wait
        the number of existing jobs that become children too, and for each its id and the numbers of its parents
        the id and fencing token of a running job that gets children, or '' twice
        the number of unique jobs, and for each its number and its claim, as for create_unique.lua
  A unique job whose claim another job has is not created, nor are jobs that only it waits for: the other job is waited for.
  Returns    {1, id of the first created job, more}, the others have the next ids; `more` lists those not created: each
             "NUMBER=ID" of the job with the claim, "NUMBER=-ID" if that was removed, or "NUMBER=". Or nothing was done:
             {-1, id} no such job, {-2, id} the attempt lost its job, {-4, id} that job has the claim of a job with
             on_duplicate reject, {-5, id} the running job would wait for itself through that job
  Publishes  enqueue for each job that waits for nothing; duplicate; the events of include/flows/parents.lua
]]
--- @include "transitions/create"
--- @include "attempts/fencing"
--- @include "claims"
local REJECTED, CYCLE = -4, -5
local count = tonumber(ARGV[5])
local searches = ARGV[6 + count * 8] == '1'
local parents_at = 7 + count * 8
local found_by_at = parents_at + count
local policies_at = found_by_at + (searches and count or 0)
local policies = tonumber(ARGV[policies_at])
local olds_at = policies_at + 1 + 2 * policies
local olds = tonumber(ARGV[olds_at])
local runner, token = ARGV[olds_at + 1 + 2 * olds], ARGV[olds_at + 2 + 2 * olds]
local uniques_at = olds_at + 3 + 2 * olds
local uniques = tonumber(ARGV[uniques_at] or '0')

local last = ARGV[3] ~= '' and redis.call('GET', ARGV[3])
if last then
  local last_sequence, made, more = string.match(last, '^(.-):(%d+):?(.*)$')
  if last_sequence == ARGV[4] then return {1, tonumber(made), more} end
end
local children = {}   -- existing jobs that become children: id, and the numbers of its parents
for n = 0, olds - 1 do
  local id = ARGV[olds_at + 1 + 2 * n]
  if redis.call('HEXISTS', job_key(id), 'type') == 0 then return {GONE, id} end
  children[n + 1] = {id, ARGV[olds_at + 2 + 2 * n]}
end
if runner ~= '' then
  local field = redis.call('HMGET', job_key(runner), 'state', 'token')
  if not may_write(runner, token, field[1], field[2]) then
    return {redis.call('EXISTS', job_key(runner)) == 0 and GONE or LOST, runner}
  end
end

-- Whether a job is the running job, or waits for it directly or indirectly.
local function runs_below(id)
  local above, seen = {runner}, {}
  while #above > 0 do
    local each = table.remove(above)
    if each == id then return true end
    if not seen[each] then
      seen[each] = true
      for parent in string.gmatch(redis.call('HGET', job_key(each), 'parents') or '', '[^,]+') do above[#above + 1] = parent end
    end
  end
  return false
end
for _, child in ipairs(runner ~= '' and children or {}) do
  if runs_below(child[1]) then return {CYCLE, child[1]} end
end

local parents = {}   -- by number, the numbers of its parents
for n = 0, count - 1 do parents[n] = ARGV[parents_at + n] end

-- Jobs not created: by number "ID", "-ID" or '', as returned; and the claims of the unique jobs that are created.
local dropped, claims, more = {}, {}, {}
for at = uniques_at + 1, uniques_at + 2 * uniques, 2 do
  local n, claim = tonumber(ARGV[at]), cjson.decode(ARGV[at + 1])
  local id, is_gone = claimed_by(claim.entry)
  if not id then
    claims[n] = claim
  elseif claim.on_duplicate == 'reject' then
    return {REJECTED, id}
  elseif runner ~= '' and runs_below(id) then
    return {CYCLE, id}
  else
    dropped[n] = (is_gone and '-' or '') .. id
    if not is_gone then children[#children + 1] = {id, parents[n]} end
  end
end

local function is_wanted(n)
  if parents[n] == '' then return true end
  for number in string.gmatch(parents[n], '[^,]+') do
    if number == 'r' or not dropped[tonumber(number)] then return true end
  end
  return false
end
local is_settled = next(dropped) == nil
while not is_settled do   -- once per level
  is_settled = true
  for n = 0, count - 1 do
    if not dropped[n] and not is_wanted(n) then
      dropped[n], claims[n], is_settled = '', nil, false
    end
  end
end

-- The position of each job among those created, by number; nil: same as the number. Their values move up.
local places, kept = nil, count
if next(dropped) ~= nil then
  places, kept = {}, 0
  for n = 0, count - 1 do
    if dropped[n] then
      more[#more + 1] = n .. '=' .. dropped[n]
    else
      for value = 0, 7 do ARGV[6 + kept * 8 + value] = ARGV[6 + n * 8 + value] end
      if searches then ARGV[found_by_at + kept] = ARGV[found_by_at + n] end
      places[n] = kept
      kept = kept + 1
    end
  end
  ARGV[5] = tostring(kept)
end
local function position(n)
  if places then return places[n] end
  return n
end

local waits = {}   -- by position, the policies of those with children
for at = policies_at + 1, policies_at + 2 * policies, 2 do
  local here = position(tonumber(ARGV[at]))
  if here then waits[here] = ARGV[at + 1] end
end
local first = kept > 0 and create(waits, searches and found_by_at or #ARGV + 1) or 0
more = table.concat(more, ' ')
if more ~= '' and ARGV[3] ~= '' then redis.call('SET', ARGV[3], ARGV[4] .. ':' .. whole(first) .. ':' .. more, 'EX', LANE_S) end

-- The children of each parent, and how many it had before.
local edges, totals, known = {}, {}, {}
local function id_at(number)
  if number == 'r' then return runner end
  local here = position(tonumber(number))
  return here and whole(first + here)
end
local function is_known(parent, child)
  local edge = parent .. ' ' .. child
  if known[edge] or (parent == runner and redis.call('ZSCORE', children_key(parent), child)) then return true end
  known[edge] = true
  return false
end
local function adopt(child, numbers)
  local ids = {}
  for number in string.gmatch(numbers, '[^,]+') do
    local parent = id_at(number)
    if parent and not (uniques > 0 and is_known(parent, child)) then
      if not edges[parent] then
        edges[parent], totals[parent] = {n = 0}, redis.call('ZCARD', children_key(parent))
      end
      totals[parent] = totals[parent] + 1
      add(edges[parent], whole(-totals[parent]), child)
      ids[#ids + 1] = parent
    end
  end
  return table.concat(ids, ',')
end
for n = 0, count - 1 do
  local here = position(n)
  if here then
    local id = whole(first + here)
    if parents[n] ~= '' then redis.call('HSET', job_key(id), 'parents', adopt(id, parents[n])) end
    if waits[here] then redis.call('HSET', job_key(id), 'on_child_failure', waits[here]) end
    if claims[n] then set_claim(id, claims[n], redis.call('HGET', job_key(id), 'data')) end
  end
end
for _, child in ipairs(children) do
  local id, before, ids = child[1], redis.call('HGET', job_key(child[1]), 'parents'), adopt(child[1], child[2])
  if ids ~= '' then redis.call('HSET', job_key(id), 'parents', before and before .. ',' .. ids or ids) end
end
for parent, list in pairs(edges) do
  send('ZADD', children_key(parent), list)
  redis.call('HSET', job_key(parent), 'children', totals[parent])
end
for _, child in ipairs(children) do
  local id = child[1]
  local field = redis.call('HMGET', job_key(id), 'state', 'error')
  if field[1] == 'complete' or field[1] == 'failed' then settle(id, field[1], string.match(field[2] or '', '^[^\n]*')) end
end
if uniques > 0 then
  sweep_claims(4)
  for n, id in pairs(dropped) do
    if id ~= '' then publish(string.match(id, '[^-].*'), 'duplicate', ',"return"') end
  end
  for here, policy in pairs(waits) do   -- its children were removed on completion, but their claims are still valid
    local id = whole(first + here)
    if not edges[id] then
      local field = redis.call('HMGET', job_key(id), 'type', 'priority', 'delay')
      review_parent(id, field[1], field[2], policy, field[3])
    end
  end
end
return {1, first, more}
