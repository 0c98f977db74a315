--[[
  create_unique: - -> inactive or delayed, unless a job of that type with the same member in its data waits or runs.

  Jobs that were made here are found by the set q:unique, whatever their number; others are looked for among the first
  SCANNED of their type in each state. If there are more, the caller looks through them itself, so as not to hold up the
  server, and calls again. The set does not grow for ever: each call looks at SWEPT members somewhere in it,
  and drops those whose job has ended, so there are never many more than jobs that have not.

  ARGV[3] ''   ARGV[4] the member, compact JSON without braces: "url":"https://…"; with * before it, the caller has looked
  ARGV[5] 1
  ARGV[6…]     one job, as for create.lua, whose ARGV[3] is a lane: none is needed, since a repeated call finds the job
               that the first one made
  Returns    {id, 1} created, {id, 0} this job was there already, {0, 0} not among the first, and there are more
  Publishes  enqueue if a job was made that waits
]]
--- @include "create"
local SCANNED, SWEPT = 2000, 4
local has_looked = string.sub(ARGV[4], 1, 1) == '*'
local text, job_type = string.sub(ARGV[4], has_looked and 2 or 1), ARGV[6]
local wanted_name, wanted = next(cjson.decode('{' .. text .. '}'))
local unique_key, entry = prefix .. ':unique', job_type .. ' ' .. text

local function has_ended(id)
  local state = redis.call('HGET', job_key(id), 'state')
  return not state or state == 'complete' or state == 'failed'
end

local function matches(id)
  local data = redis.call('HGET', job_key(id), 'data')
  if not data or not string.find(data, text, 1, true) then return false end
  local read, decoded = pcall(cjson.decode, data)
  return read and type(decoded) == 'table' and decoded[wanted_name] == wanted
end

local known = redis.call('ZSCORE', unique_key, entry)
if known then
  known = whole(tonumber(known))
  if not has_ended(known) and matches(known) then return {tonumber(known), 0} end   -- data may be changed by hand
end
local more = false
for _, state in ipairs({'active', 'inactive', 'delayed'}) do
  local set = type_key(job_type, state)
  for _, zid in ipairs(redis.call('ZRANGE', set, 0, SCANNED - 1)) do
    local id = id_of(zid)
    if tonumber(id) and matches(id) and not has_ended(id) then return {tonumber(id), 0} end
  end
  more = more or redis.call('ZCARD', set) > SCANNED
end
if more and not has_looked then return {0, 0} end

local id = create()
local size = redis.call('ZCARD', unique_key)
local from = size > SWEPT and now % (size - SWEPT + 1) or 0
for _, each in ipairs(redis.call('ZRANGE', unique_key, from, from + SWEPT - 1)) do
  if has_ended(whole(tonumber(redis.call('ZSCORE', unique_key, each)))) then redis.call('ZREM', unique_key, each) end
end
redis.call('ZADD', unique_key, id, entry)
return {id, 1}
