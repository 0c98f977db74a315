--- @include "wake_up_tokens"
--- @include "batch_args"
-- inactive -> active, up to the number of free slots of each type.
local GARBAGE_MAX = 1000   -- broken entries that one call removes before it gives up
local SEPARATOR = '\31'    -- as in script_values.py

-- Return type, state, priority and ttl from a hash as a flat list.
local function essence(flat)
  local type, state, priority, ttl
  for i = 1, #flat, 2 do
    local name = flat[i]
    if name == 'type' then type = flat[i + 1]
    elseif name == 'state' then state = flat[i + 1]
    elseif name == 'priority' then priority = flat[i + 1]
    elseif name == 'ttl' then ttl = flat[i + 1] end
  end
  return type, state, score_of(priority or '0'), ttl
end

-- Append a job to the reply: id, token, slot and hash as one string, and the number of strings in the hash. One string, because
-- a reply of many strings would cost more than all other work for the job.
local function take(taken, id, token, slot, flat)
  taken[#taken + 1] = #flat
  taken[#taken + 1] = id .. SEPARATOR .. token .. SEPARATOR .. slot .. SEPARATOR .. table.concat(flat, SEPARATOR)
end

-- An entry of q:jobs:TYPE:inactive without a runnable job: remove it, and erase a job without a type. A job of another type is
-- moved to its own sets. A job key that is not a hash is left for the doctor to report.
local function discard(id, zid, type, state, priority, is_hash)
  if is_hash and not type then
    erase(id, zid, false, false)
  elseif state == 'inactive' then
    call('SADD', prefix .. ':job:types', type)
    if not fault_of(redis.pcall('ZADD', type_key(type, 'inactive'), priority, zid)) then balance_tokens(type) end
  else
    call('ZREM', state_key('inactive'), zid)
  end
end

-- `slots`: the numbers of the free slots. Append the jobs to `taken`; return how many still wait, or nil and the error: a key of
-- another type, or one denied by an ACL, stops only its own job type. `limits`: the type's limits, or nil. With a limit by key,
-- all waiting jobs are set aside first, and those taken whose keys have their turn.
local function reserve_type(type, slots, worker, nonce, lease_until, taken, limits)
  local waiting_key, garbage, filled, most, from, full_at = type_key(type, 'inactive'), 0, 0, #slots, 'inactive', nil
  local worker_type, start_args = worker .. ':' .. type .. ':', ',' .. json(type) .. ',null'
  local due = limits and limits.key and {'promote_at', now_text} or {}
  local active = redis.pcall('ZCARD', type_key(type, 'active'))   -- checked before a job is taken: nothing is rolled back
  if fault_of(active) then return nil, active.err end
  if limits then
    most, full_at = allowed_of_type(type, limits)
    most = math.min(most, #slots)
    if limits.key then
      from = 'delayed'
      sort_waiting(type, limits.key, discard)
    end
  end
  while filled < most and garbage < GARBAGE_MAX do
    local popped, aside
    if from == 'inactive' then
      popped = redis.pcall('ZPOPMIN', waiting_key, most - filled)
      if fault_of(popped) then return nil, popped.err end
    else
      popped, aside = take_turns(type, limits.key, most - filled)
    end
    if #popped == 0 then break end
    local leaving, entering, entering_type, leasing = {n = 0}, {n = 0}, {n = 0}, {n = 0}
    for i = 1, #popped, 2 do
      local zid, id = popped[i], id_of(popped[i])
      local key = job_key(id)
      local flat, is_hash, own_type, state, priority, ttl
      if aside then
        local job = aside[zid]
        flat, is_hash, own_type, state, priority, ttl = job.flat, true, type, from, job.priority, job.ttl
      else
        flat = redis.pcall('HGETALL', key)
        is_hash = not fault_of(flat)
        own_type, state, priority, ttl = essence(flat)
      end
      if own_type == type and state == from then
        filled = filled + 1
        local slot = slots[filled]
        local token = nonce .. '.' .. slot .. '@' .. now_text
        call('HSET', key, 'state', 'active', 'started_at', now_text, 'updated_at', now_text, 'workerId', worker_type .. slot,
          'token', token, unpack(due))
        add(leaving, zid)
        add(entering, active_score(priority, ttl), zid)
        add(entering_type, priority, zid)
        add(leasing, lease_until, id)
        take(taken, id, token, slot, flat)
        publish(id, 'start', start_args)
      else
        garbage = garbage + 1
        discard(id, zid, own_type, state, priority, is_hash)
      end
    end
    send('ZREM', state_key(from), leaving)
    if from == 'delayed' then send('ZREM', type_key(type, from), leaving) end
    send('ZADD', state_key('active'), entering)
    send('ZADD', type_key(type, 'active'), entering_type)
    send('ZADD', leases_key, leasing)
  end
  if limits and filled > 0 then count_started(type, full_at, limits.all, filled) end
  return balance_tokens(type)
end

-- The jobs that an earlier call with the same nonce reserved; its reply was lost.
--- @lazy
local function taken_by(nonce)
  local taken = {}
  for _, id in ipairs(redis.call('ZRANGE', leases_key, 0, -1)) do
    local field = redis.call('HMGET', job_key(id), 'token', 'state', 'workerId')   -- enough to reject most of them
    local token, state, worker = field[1], field[2], field[3]
    if state == 'active' and token and string.sub(token, 1, #nonce + 1) == nonce .. '.' then
      local slot = string.match(worker or '', ':(%d+)$') or '0'
      take(taken, id, token, slot, call('HGETALL', job_key(id)))
    end
  end
  return taken
end

-- Return the reserved jobs; the paused types; the types of which more jobs may start; the types with broken keys, each followed
-- by the error; and the limited types, each followed by the ms after which more may start.
-- ARGV from `at`: lease_ms, nonce, worker "kue:host:pid.id", again (1: the reply to this nonce was lost), the number of
-- types, and for each type its name, the number of its free slots, and their numbers.
local function reserve(at)
  local lease_until, nonce, worker = whole(now + tonumber(ARGV[at])), ARGV[at + 1], ARGV[at + 2]
  local taken = ARGV[at + 3] == '1' and taken_by(nonce) or {}
  local again = #taken > 0
  local types, paused_key, paused = tonumber(ARGV[at + 4]), prefix .. ':paused', {}
  local more, broken, later = {}, {}, {}
  at = at + 5
  for _ = 1, types do
    local type, count = ARGV[at], tonumber(ARGV[at + 1])
    local slots = {}
    for i = 1, count do slots[i] = ARGV[at + 1 + i] end
    at = at + 2 + count
    local waiting, wrong, limits
    if call('SISMEMBER', paused_key, type) == 1 then
      paused[#paused + 1] = type
      balance_tokens(type)
    elseif again then
      waiting, wrong = balance_tokens(type)
    else
      if has_limits then limits, wrong = limits_of(type) end
      if not wrong then waiting, wrong = reserve_type(type, slots, worker, nonce, lease_until, taken, limits) end
    end
    if waiting then
      if waiting > 0 then more[#more + 1] = type
      elseif wrong then
        later[#later + 1] = type
        later[#later + 1] = wrong   -- the ms until more may start
      end
    elseif wrong then
      broken[#broken + 1] = type
      broken[#broken + 1] = wrong
    end
  end
  return taken, paused, more, broken, later
end
