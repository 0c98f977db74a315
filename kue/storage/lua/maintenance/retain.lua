--[[
  retain: remove jobs of a final state that exceed a count or an age.

  The oldest are found without a separate index: within a priority, q:jobs:STATE is sorted by id, so the first jobs of each
  priority are read, and among them those that ended first are removed first.

  ARGV[3] state    complete or failed
  ARGV[4] keep     maximum number of jobs to keep, or '': no limit
  ARGV[5] max_age  ms since its end after which a job is removed, or '': no limit
  ARGV[6] limit    maximum number of jobs that one call removes
  ARGV[7] from     rank at which the sweep for old jobs continues: it finds those that are not first in their priority
  ARGV[8] grace    ms since its end during which a job is always kept: others may be reading it
  Returns    {removed, 1 if there is more to remove now, rank for the next call}
  Publishes  remove for each
]]
--- @include "flows/parents"
local GROUPS = 32    -- maximum number of priorities read; jobs of further ones follow when these are done, or are too old
local SLACK = 200    -- extra jobs to check: some may have ended in another order than their ids
local LOOK = 50      -- jobs to check if the count is not exceeded, but some may be too old
local CHUNK = 64     -- members read at a time
local SWEEP = 100    -- jobs that one sweep checks
local RETRY = 60     -- grace factor for failed jobs with attempts left: in Node Kue a retry passes through failed

local state, keep, max_age = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local limit, from, grace = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local key, types, leaving, leaving_type = state_key(state), nil, {}, {}

-- An iterator over the merged first jobs of the priorities: zids, lowest id first.
local function oldest_ids()
  local groups, after = {}, '-inf'
  while #groups < GROUPS do
    local found = redis.call('ZRANGEBYSCORE', key, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not found[1] then break end
    groups[#groups + 1] = {score = found[2], offset = 0, at = 1, zids = {}}
    after = '(' .. found[2]
  end
  local function fill(group)
    group.zids = redis.call('ZRANGEBYSCORE', key, group.score, group.score, 'LIMIT', group.offset, CHUNK)
    group.offset, group.at = group.offset + #group.zids, 1
  end
  local function look(group)
    if group.at > #group.zids then fill(group) end
    group.head = group.zids[group.at]
    group.id = group.head and (tonumber(id_of(group.head)) or 0)
  end
  for _, group in ipairs(groups) do look(group) end
  return function()
    local first
    for _, group in ipairs(groups) do
      if group.head and (not first or group.id < first.id) then first = group end
    end
    if not first then return nil end
    local zid = first.head
    first.at = first.at + 1
    look(first)
    return zid
  end
end

local function read(zid)
  local field = redis.call('HMGET', job_key(id_of(zid)),
    'type', 'state', 'updated_at', 'created_at', 'attempts', 'max_attempts', 'parents')
  local ended = tonumber(field[3] or field[4] or '') or 0
  local retries = state == 'failed' and (tonumber(field[5] or '') or 0) < (tonumber(field[6] or '') or 0)
  local spared = ended > now - grace * (retries and RETRY or 1)
  return {zid = zid, type = field[1], state = field[2], ended = ended, spared = spared, parents = field[7]}
end

-- Remove a job; an entry that is not a job in this state is only removed from the set.
local function drop(job)
  local id = id_of(job.zid)
  if not job.type then
    types = types or redis.call('SMEMBERS', prefix .. ':job:types')
    for _, type in ipairs(types) do redis.call('ZREM', type_key(type, state), job.zid) end
    erase(id, job.zid, false, false)
  else
    leaving[#leaving + 1] = job.zid
    leaving_type[job.type] = leaving_type[job.type] or {}
    table.insert(leaving_type[job.type], job.zid)
    if job.state == state then
      erase_rest(id, job.zid)   -- an ended job has no lease
      publish(id, 'remove', ',' .. json(job.type))
      if job.parents then settle(id, 'removed', '', job.parents) end
    end
  end
end

-- Remove the dropped jobs from the state's sets, one call per set.
local function leave_all()
  if #leaving > 0 then redis.call('ZREM', key, unpack(leaving)) end
  for type, zids in pairs(leaving_type) do redis.call('ZREM', type_key(type, state), unpack(zids)) end
  leaving, leaving_type = {}, {}
end

local over = keep and math.max(0, redis.call('ZCARD', key) - keep) or 0
local expiry = max_age and now - max_age or -1
local removed, wanted, jobs = 0, math.min(over, limit), {}

if over > 0 or max_age then
  local next_zid = oldest_ids()
  local looked_at = over > 0 and wanted + SLACK or LOOK
  while #jobs < looked_at do
    local zid = next_zid()
    if not zid then break end
    jobs[#jobs + 1] = read(zid)
    jobs[#jobs].order = #jobs
  end
  table.sort(jobs, function(a, b)
    if a.ended ~= b.ended then return a.ended < b.ended end
    return a.order < b.order
  end)
  for _, job in ipairs(jobs) do
    if removed >= limit or (removed >= wanted and job.ended > expiry) then break end
    if not job.spared then
      drop(job)
      removed = removed + 1
    end
  end
end
leave_all()
local more = removed > 0 and (removed >= limit or removed == #jobs or over > removed)

local next_rank = 0
if max_age then
  local zids = redis.call('ZRANGE', key, from, from + SWEEP - 1)
  local left = 0
  for _, zid in ipairs(zids) do
    local job = read(zid)
    if removed < limit and job.ended <= expiry and not job.spared then
      drop(job)
      removed = removed + 1
    else
      left = left + 1
    end
  end
  if #zids == SWEEP then next_rank = from + left end
  leave_all()
end
return {removed, more and 1 or 0, next_rank}
