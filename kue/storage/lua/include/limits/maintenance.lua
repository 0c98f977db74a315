--- @lazy
--- @include "wake_up_tokens"
-- Periodic maintenance of limits, by any process: give turns to keys whose bucket has a token, free the slots of jobs that ended
-- unnoticed (removed by Node, or their keys were deleted), and notify waiting workers.
local LOOKS = 20            -- holders, and jobs set aside, that one call verifies
local TEND_MS, SWEEP_MS = 50, 500   -- interval; within it one process is enough, and the others do nothing
local BUCKETS_MAX = 5000    -- buckets that one call checks

-- Verify some of the jobs that hold slots. One that no longer runs (removed by Node, or its hash was deleted) frees its slot.
local function look_at_holders(type)
  local holders = limit_key('holders', type)
  local size = redis.call('ZCARD', holders)
  local from = size > LOOKS and now % (size - LOOKS + 1) or 0
  for _, member in ipairs(redis.call('ZRANGE', holders, from, from + LOOKS - 1)) do
    local length = string.match(member, '^%d+')
    local key = string.sub(member, #length + 2, #length + 1 + length)
    local id = string.sub(member, #length + length + 3)
    if not is_running(id, type) or redis.call('HGET', job_key(id), 'limit_key') ~= key then free_slots(type, {member}, {key}) end
  end
end

-- A full bucket need not be stored: check some.
local function drop_full_buckets(type)
  local buckets, dropped = limit_key('buckets', type), {}
  local count = math.min(BUCKETS_MAX, math.max(LOOKS, math.floor(redis.call('HLEN', buckets) / 20)))
  local cursor = redis.call('HGET', limit_key('state', type), 'cursor') or '0'
  local found = redis.call('HSCAN', buckets, cursor, 'COUNT', count)
  for at = 1, #found[2], 2 do
    local full_at, hold = read_bucket(found[2][at + 1])
    if (full_at or 0) <= now and (hold or 0) <= now then dropped[#dropped + 1] = found[2][at] end
  end
  if #dropped > 0 then redis.call('HDEL', buckets, unpack(dropped)) end
  if found[1] ~= cursor then redis.call('HSET', limit_key('state', type), 'cursor', found[1]) end
end

-- Verify some of the jobs set aside: each must be among its key's jobs, and the key must be waiting.
local function look_at_aside(type)
  local aside = limit_key('aside', type)
  local size = redis.call('ZCARD', aside)
  local from = size > LOOKS and now % (size - LOOKS + 1) or 0
  for _, zid in ipairs(redis.call('ZRANGE', aside, from, from + LOOKS - 1)) do
    local field = redis.call('HMGET', job_key(id_of(zid)), 'limit_key', 'priority')
    if field[1] and is_aside(id_of(zid), type, field[1]) then
      fault_of(redis.pcall('ZADD', line_key(type, field[1]), score_of(field[2] or '0'), zid))
      if not (redis.call('ZSCORE', limit_key('turns', type), field[1]) or redis.call('ZSCORE', limit_key('ready', type), field[1])
        or redis.call('ZSCORE', limit_key('full', type), field[1])) then line_up(type, {field[1]}) end
    else
      redis.call('ZREM', aside, zid)
    end
  end
end

-- Jobs of a type whose limit by key was removed or changed become inactive again.
local function put_back(type)
  local leaving = limit_key('leaving', type)
  local zids = redis.pcall('ZRANGE', leaving, 0, LOOKS_MAX - 1)
  if fault_of(zids) then return end
  for _, zid in ipairs(zids) do
    local id = id_of(zid)
    local field = redis.call('HMGET', job_key(id), 'limit_key', 'priority')
    redis.call('ZREM', leaving, zid)
    if field[1] and is_aside(id, type, field[1]) then
      leave(zid, type, 'delayed')
      fault_of(redis.pcall('ZREM', line_key(type, field[1]), zid))
      redis.call('HSET', job_key(id), 'promote_at', now_text)
      enqueue(id, zid, type, field[2] or '0')
    end
  end
  if redis.call('EXISTS', leaving) == 0 then redis.call('SREM', prefix .. ':limit:leaving', type) end
end

-- Whether an interval has passed since any process did this; if so, record that it is done now.
local function is_due(name, span)
  local last = redis.pcall('HGET', prefix .. ':clock', name)
  last = not fault_of(last) and number_of(last) or nil
  if last and last <= now and now - last < span then return false end
  redis.pcall('HSET', prefix .. ':clock', name, now_text)
  return true
end

-- Return whether there are limits.
local function tend_limits()
  local leaving = redis.pcall('SMEMBERS', prefix .. ':limit:leaving')
  for _, type in ipairs(fault_of(leaving) and {} or leaving) do put_back(type) end
  local types = limited_types()
  if #types == 0 then return false end
  if not is_due('tended', TEND_MS) then return true end
  local sweeps = is_due('swept', SWEEP_MS)
  for _, type in ipairs(types) do
    local limits = limits_of(type)
    if limits and limits.key then
      admit_ready(type)
      if sweeps then
        look_at_holders(type)
        look_at_aside(type)
        drop_full_buckets(type)
      end
    end
    if limits and not limits.key and not limits.all then
      local field = redis.call('HMGET', limit_key('state', type), 'hold', 'held_at')
      if held_for(number_of(field[1]), number_of(field[2])) == 0 then redis.call('HDEL', limits_key(), type) end
    end
    balance_tokens(type)
  end
  return true
end
