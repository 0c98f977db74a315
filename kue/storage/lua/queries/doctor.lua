--[[
  doctor: check that jobs are exactly in the sets that their hashes say; repair them on request.

  ARGV[3] count  jobs, then for each:
          id, the signature returned by an earlier check (repair if unchanged) or '' (only check),
          the number of further sets to search for the job, and their keys
  Returns    {{id, signature, ms since the job's last change (-1: unknown), code, detail, code, detail, …}, …} for each
             job with problems; a signature begins with "fixed " if it was repaired
  Publishes  enqueue for a job that becomes inactive, revoked for one that loses its lease
]]
--- @include "limits/admission"
local STATES = {'inactive', 'active', 'complete', 'failed', 'delayed'}
local SILENT_MS = 24 * 3600 * 1000   -- a Node worker's job without a change for this long is reported
local DEADLINES_FROM = 100000        -- scores in q:jobs:active from here on are deadlines, as in Node Kue
local is_state = {}
for _, each in ipairs(STATES) do is_state[each] = true end

local function short(key) return string.sub(key, #prefix + 2) end
local function number(text) return tonumber(text or '') end
local function is_number(text) local value = number(text); return value ~= nil and value == value end

-- Where the job is: {key = score} of all sets that may contain it.
local function places(id, type, more)
  local found, keys = {}, {all_key}
  for _, state in ipairs(STATES) do
    keys[#keys + 1] = state_key(state)
    if type then keys[#keys + 1] = type_key(type, state) end
  end
  for _, key in ipairs(more) do keys[#keys + 1] = key end
  for _, key in ipairs(keys) do
    found[key] = redis.call('ZSCORE', key, zid_of(id)) or nil
  end
  return found
end

local function names(keys)
  for at, key in ipairs(keys) do keys[at] = short(key) end
  table.sort(keys)
  return table.concat(keys, ', ')
end

-- The state for a job without a valid one: that of its sets; else inactive or delayed if it never ran, otherwise failed.
local function state_for(job)
  local one, count = nil, 0
  for _, state in ipairs(STATES) do
    if job.at[state_key(state)] then one, count = state, count + 1 end
  end
  if count == 1 and (one ~= 'active' or job.lease) then return one end
  if job.state or not job.data or job.started_at then return 'failed' end
  return (number(job.promote_at) or 0) > now and 'delayed' or 'inactive'
end

local function score_for(job, state)
  if state == 'delayed' then return is_number(job.promote_at) and job.promote_at or now_text end
  if state == 'active' then return active_score(job.priority, job.ttl) end
  return job.priority
end

local function score_is_right(job, state, score)
  score = tonumber(score)
  if state == 'delayed' then return not is_number(job.promote_at) or math.abs(score - job.promote_at) < 1000 end
  if state ~= 'active' then return score == tonumber(job.priority) end
  if is_number(job.ttl) then return score >= DEADLINES_FROM end
  return score < DEADLINES_FROM
end

-- Whether a job set aside is among its key's jobs, and the key waits for its turn, its bucket or a slot.
local function is_in_line(job)
  local key = job.limit_key
  if redis.call('SISMEMBER', prefix .. ':limit:leaving', job.type) == 1 then return true end
  local limits = limits_of(job.type)
  local place = key and limits and limits.key and redis.pcall('ZSCORE', line_key(job.type, key), zid_of(job.id))
  return place and not fault_of(place) and redis.call('ZSCORE', limit_key('aside', job.type), zid_of(job.id))
    and (redis.call('ZSCORE', limit_key('turns', job.type), key) or redis.call('ZSCORE', limit_key('ready', job.type), key)
      or redis.call('ZSCORE', limit_key('full', job.type), key))
end

local function examine_leavings(id, at, more, field_count, wrong)
  local keys = {}
  for key in pairs(at) do keys[#keys + 1] = key end
  for _, key in ipairs(more) do
    if redis.call('ZSCORE', key, id) then keys[#keys + 1] = key end   -- search indexes contain plain ids
  end
  if field_count > 0 then wrong[#wrong + 1] = {'notype', names(keys)}
  elseif #keys > 0 then wrong[#wrong + 1] = {'nohash', names(keys)} end
  if redis.call('ZSCORE', leases_key, id) then wrong[#wrong + 1] = {'lease', 'gone'} end
  if redis.call('EXISTS', log_key(id)) == 1 then wrong[#wrong + 1] = {'log', ''} end
  for _, index in ipairs({':search:object:', ':search:text:object:'}) do
    if redis.call('EXISTS', prefix .. index .. id) == 1 then wrong[#wrong + 1] = {'search', short(prefix .. index .. id)} end
  end
end

local function examine_job(job, wrong)
  local state, at, missing, surplus, misplaced = job.state, job.at, {}, {}, {}
  if redis.call('SISMEMBER', prefix .. ':job:types', job.type) == 0 then wrong[#wrong + 1] = {'type', job.type} end
  if not is_number(job.priority) then
    wrong[#wrong + 1] = {'priority', job.priority}
    job.priority = '0'
  end
  if not is_state[state or ''] then
    job.target = state_for(job)
    wrong[#wrong + 1] = {'state', (state or '') .. '>' .. job.target}
  elseif state == 'active' and not job.lease then
    local placed = at[state_key('active')] or at[type_key(job.type, 'active')]
    local ours = redis.call('HEXISTS', prefix .. ':workers', string.match(job.worker, '^(kue:.-:%d+%.?%x*):') or '') == 1
    if not placed or job.worker == '' or ours then
      job.target = 'inactive'
      wrong[#wrong + 1] = {'unowned', job.worker}
    elseif not is_number(job.ttl) and (number(job.updated_at) or 0) < now - SILENT_MS then
      wrong[#wrong + 1] = {'silent', job.worker}
    end
  elseif state ~= 'active' and job.lease then
    wrong[#wrong + 1] = {'lease', state}
  end
  if state == 'delayed' and job.promote_at == ASIDE_UNTIL_MS and not is_in_line(job) then
    job.target = 'inactive'
    wrong[#wrong + 1] = {'aside', job.limit_key or ''}
  end
  job.target = job.target or state
  local right = {[all_key] = true, [state_key(job.target)] = true, [type_key(job.type, job.target)] = true}
  if job.target == state then
    for key in pairs(right) do
      if not at[key] then missing[#missing + 1] = key end
    end
    if at[all_key] and tonumber(at[all_key]) ~= tonumber(job.priority) then misplaced[#misplaced + 1] = all_key end
    local key = type_key(job.type, state)
    if at[key] and tonumber(at[key]) ~= tonumber(job.priority) then misplaced[#misplaced + 1] = key end
    key = state_key(state)
    if at[key] and not score_is_right(job, state, at[key]) then misplaced[#misplaced + 1] = key end
  end
  for key in pairs(at) do
    if not right[key] and (job.target == state or key ~= state_key(state or '') and key ~= type_key(job.type, state or '')) then
      surplus[#surplus + 1] = key
    end
  end
  if #missing > 0 then wrong[#wrong + 1] = {'missing', names(missing)} end
  if #surplus > 0 then wrong[#wrong + 1] = {'surplus', names(surplus)} end
  if #misplaced > 0 then wrong[#wrong + 1] = {'score', names(misplaced)} end
end

local function repair_job(job, wrong)
  local id, zid, target = job.id, zid_of(job.id), job.target
  local kind = {}
  for _, each in ipairs(wrong) do kind[each[1]] = each[2] end
  redis.call('SADD', prefix .. ':job:types', job.type)
  if kind.priority then redis.call('HSET', job_key(id), 'priority', job.priority) end
  if kind.lease then redis.call('ZREM', leases_key, id) end
  for key in pairs(job.at) do
    if key ~= all_key and key ~= state_key(target) and key ~= type_key(job.type, target) then redis.call('ZREM', key, zid) end
  end
  redis.call('ZADD', all_key, job.priority, zid)
  if kind.aside then redis.call('HSET', job_key(id), 'promote_at', now_text) end
  if kind.state or kind.unowned or kind.aside then
    local line = (kind.unowned and 'doctor: no worker holds it, waits again')
      or (kind.aside and 'doctor: it stood aside in no line, waits again')
      or 'doctor: its state was "' .. (job.state or '') .. '", is now ' .. target
    revoke(id, 'moved')
    append_log(id, line)
    if target == 'failed' then redis.call('HSET', job_key(id), 'error', line, 'failed_at', now_text) end
    place(id, zid, job.type, target, job.priority, job.ttl, job.promote_at)
  elseif target == 'inactive' and not job.at[type_key(job.type, 'inactive')] then
    enqueue(id, zid, job.type, job.priority)   -- no worker could see it before
  else
    local score = job.at[state_key(target)]
    if not (score and score_is_right(job, target, score)) then score = score_for(job, target) end
    redis.call('ZADD', state_key(target), score, zid)
    redis.call('ZADD', type_key(job.type, target), job.priority, zid)
  end
end

local function repair_leavings(id, more)
  for _, type in ipairs(redis.call('SMEMBERS', prefix .. ':job:types')) do
    for _, state in ipairs(STATES) do redis.call('ZREM', type_key(type, state), zid_of(id)) end
  end
  for _, key in ipairs(more) do redis.call('ZREM', key, zid_of(id), id) end
  erase(id, zid_of(id), false, false)
end

local function examine(id, expected, more)
  local wrong, job = {}, nil
  local field = redis.pcall('HMGET', job_key(id), 'type', 'state', 'priority', 'ttl', 'promote_at', 'updated_at',
    'workerId', 'started_at', 'data', 'created_at', 'limit_key')
  if field.err then
    return {id, '', -1, 'nothash', redis.call('TYPE', job_key(id)).ok}
  end
  if field[1] then
    job = {
      id = id, type = field[1], state = field[2] or nil, priority = field[3] or '0', ttl = field[4] or nil,
      promote_at = field[5] or nil, updated_at = field[6] or nil, worker = field[7] or '', started_at = field[8],
      data = field[9], limit_key = field[11] or nil, lease = redis.call('ZSCORE', leases_key, id), at = {},
    }
    local sets = {}
    for _, key in ipairs(more) do
      if string.sub(key, 1, #all_key + 1) == all_key .. ':' then sets[#sets + 1] = key end   -- not a search index
    end
    job.at = places(id, job.type, sets)
    examine_job(job, wrong)
  else
    examine_leavings(id, places(id, nil, more), more, redis.call('HLEN', job_key(id)), wrong)
  end
  if #wrong == 0 then return nil end
  local changed = math.max(number(field[6]) or 0, number(field[8]) or 0, number(field[10]) or 0)
  local answer, signature = {id, '', changed > 0 and math.max(0, now - changed) or -1}, field[6] or ''
  for _, each in ipairs(wrong) do
    signature = signature .. ' ' .. each[1]
    answer[#answer + 1], answer[#answer + 2] = each[1], each[2]
  end
  if expected == signature and not (#wrong == 1 and wrong[1][1] == 'silent') then
    if job then repair_job(job, wrong) else repair_leavings(id, more) end
    signature = 'fixed ' .. signature
  end
  answer[2] = signature
  return answer
end

local answers, at = {}, 4
for _ = 1, tonumber(ARGV[3]) do
  local id, expected, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local more = {}
  for n = 1, count do more[n] = ARGV[at + 2 + n] end
  at = at + 3 + count
  local answer = examine(id, expected, more)
  if answer then answers[#answers + 1] = answer end
end
return answers
