--[[
  create_flow: - -> inactive or delayed, for jobs of which some wait for others: all of them or none.

  ARGV[3] lane   ARGV[4] sequence   ARGV[5] count   and for each job 8 values, as for create.lua
  then  1 with search, or 0
        for each job: the numbers of its parents in this call, from 0 on, with commas; "r" is the running job below
        with search, for each job: what it is found by, as in include/search.lua, or ''
        the number of jobs with children, and for each its number and what a failed child does: fail, ignore or wait
        the number of jobs that are there already and become children too, and for each its id and the numbers of its parents
        the id and the token of a running job that gets children, or '' twice
  Returns    {1, id of the first job}, the others follow it; else nothing is done: {-1, id} there is no such job,
             {-2, id} the attempt has lost its job
  Publishes  enqueue for each job that waits for nothing; what ended children lead to, as in include/flows.lua
]]
--- @include "create"
--- @include "fencing"
local count = tonumber(ARGV[5])
local searches = ARGV[6 + count * 8] == '1'
local parents_at = 7 + count * 8
local found_by_at = parents_at + count
local policies_at = found_by_at + (searches and count or 0)
local policies = tonumber(ARGV[policies_at])
local olds_at = policies_at + 1 + 2 * policies
local olds = tonumber(ARGV[olds_at])
local runner, token = ARGV[olds_at + 1 + 2 * olds], ARGV[olds_at + 2 + 2 * olds]

local last = ARGV[3] ~= '' and redis.call('GET', ARGV[3])
if last then
  local last_sequence, made = string.match(last, '^(.-):(%d+)$')
  if last_sequence == ARGV[4] then return {1, tonumber(made)} end
end
for n = 0, olds - 1 do
  local id = ARGV[olds_at + 1 + 2 * n]
  if redis.call('HEXISTS', job_key(id), 'type') == 0 then return {GONE, id} end
end
if runner ~= '' then
  local field = redis.call('HMGET', job_key(runner), 'state', 'token')
  if not may_write(runner, token, field[1], field[2]) then
    return {redis.call('EXISTS', job_key(runner)) == 0 and GONE or LOST, runner}
  end
end

local waits = {}   -- by number, the policies of those that have children
for at = policies_at + 1, policies_at + 2 * policies, 2 do waits[tonumber(ARGV[at])] = ARGV[at + 1] end
local first = create(waits, searches and found_by_at or #ARGV + 1)

-- The children of each parent, and how many it has had before.
local edges, totals = {}, {}
local function id_at(number) return number == 'r' and runner or whole(first + tonumber(number)) end
local function adopt(child, numbers)
  local ids = {}
  for number in string.gmatch(numbers, '[^,]+') do
    local parent = id_at(number)
    if not edges[parent] then
      edges[parent], totals[parent] = {n = 0}, redis.call('ZCARD', children_key(parent))
    end
    totals[parent] = totals[parent] + 1
    add(edges[parent], whole(-totals[parent]), child)
    ids[#ids + 1] = parent
  end
  return table.concat(ids, ',')
end
for n = 0, count - 1 do
  local id, numbers = whole(first + n), ARGV[parents_at + n]
  if numbers ~= '' then redis.call('HSET', job_key(id), 'parents', adopt(id, numbers)) end
  if waits[n] then redis.call('HSET', job_key(id), 'on_child_failure', waits[n]) end
end
for n = 0, olds - 1 do
  local id = ARGV[olds_at + 1 + 2 * n]
  local known, ids = redis.call('HGET', job_key(id), 'parents'), adopt(id, ARGV[olds_at + 2 + 2 * n])
  redis.call('HSET', job_key(id), 'parents', known and known .. ',' .. ids or ids)
end
for parent, list in pairs(edges) do
  send('ZADD', children_key(parent), list)
  redis.call('HSET', job_key(parent), 'children', totals[parent])
end
for n = 0, olds - 1 do
  local id = ARGV[olds_at + 1 + 2 * n]
  local field = redis.call('HMGET', job_key(id), 'state', 'error')
  if field[1] == 'complete' or field[1] == 'failed' then settle(id, field[1], string.match(field[2] or '', '^[^\n]*')) end
end
return {1, first}
