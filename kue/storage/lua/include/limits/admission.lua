--- @lazy
--- @include "attempts/fencing"
--- @include "limits/aside"
--- @include "batch_args"
-- Which jobs of a limited type may start now. A token bucket is stored as the time at which it will be full again.
local LOOKS_MAX = 1000      -- maximum number of keys, and of jobs, that one call checks per type
local CHECKS = 20           -- running jobs that are verified when a limit is reached; others follow at the next check
local KEY_BYTES_MAX = 200   -- a longer key is replaced by its hash

-- The error in the Redis keys of a limited type, or nil. A key of another type would end a script between two writes.
local function wrong_kind(job_type, by_key)
  local kinds = {state = 'hash'}
  if by_key then
    kinds = {state = 'hash', weights = 'hash', buckets = 'hash', aside = 'zset', turns = 'zset', ready = 'zset', full = 'zset',
      holders = 'zset'}
  end
  for part, kind in pairs(kinds) do
    local found = redis.call('TYPE', limit_key(part, job_type)).ok
    if found ~= kind and found ~= 'none' then
      return 'WRONGTYPE ' .. limit_key(part, job_type) .. ' is a ' .. found .. ', not a ' .. kind .. ': look at it, and delete it'
    end
  end
end

-- Return a type's limits as {all = …, key = …}, or nil; and the error in its Redis keys. They are read once per call.
local known_limits = {}
local function limits_of(job_type)
  if known_limits[job_type] then return known_limits[job_type] end
  local text = redis.pcall('HGET', limits_key(), job_type)
  if fault_of(text) then return nil, text.err end
  if not text then return nil end
  local read, limits = pcall(cjson.decode, text)
  if not read or type(limits) ~= 'table' then return nil end
  local wrong = wrong_kind(job_type, limits.key)
  if wrong then return nil, wrong end
  known_limits[job_type] = limits
  return limits
end

-- A job's key: the value at the limit's path in its data, as text; '' if there is none.
local function key_from(limit, data)
  local read, value = pcall(cjson.decode, data or '')
  if not read then return '' end
  for _, name in ipairs(limit.path) do
    if type(value) ~= 'table' then return '' end
    value = value[name]
  end
  if type(value) == 'number' then value = value == math.floor(value) and whole(value) or string.format('%.17g', value)
  elseif type(value) == 'boolean' then value = tostring(value)
  elseif type(value) ~= 'string' then return '' end
  if limit.of_url then
    local host = string.match(string.match(value, '^%a[%w+.-]*://([^/?#\\]*)') or '', '([^@]*)$')
    value = string.lower(string.match(host, '^(%[.*%])') or string.match(host, '^([^:]*)'))
  end
  return #value > KEY_BYTES_MAX and redis.sha1hex(value) or value
end

-- Return how many jobs may start by a limit's rate, when its bucket is full again, and the ms until one more may start. Stored
-- values that are invalid or too far ahead (the clock was set back, the rate was raised) are corrected.
local function look_into(limit, full_at)
  if not limit.count then return math.huge, now, 0 end
  local each = limit.period / limit.count
  local room = each * limit.burst
  full_at = math.min(math.max(full_at or 0, now), now + room)
  local level = now + room - full_at
  return math.floor(level / each + 1e-6), full_at, math.max(1, math.ceil(each - level))
end

-- Return the ms for which a handler asked to start no jobs (RateLimited).
local function held_for(hold, held_at)
  if not hold or not held_at then return 0 end
  return math.max(0, hold - math.max(now, held_at))
end

-- Whether the clock was set back since a bucket was written: it is rewritten then, or it would wait for the old time.
local function is_ahead(full_at, right_full_at, held_at)
  return (full_at or 0) > right_full_at + 1 and full_at > now or (held_at or 0) > now
end

-- Whether an active job counts as running: without its lease, a job of ours no longer runs, whatever its hash says.
local function is_running(id, type)
  local field = redis.call('HMGET', job_key(id), 'state', 'type', 'token', 'started_at')
  if field[1] ~= 'active' or field[2] ~= type then return false end
  return not field[3] or not names_start(field[3], field[4]) or redis.call('ZSCORE', leases_key, id) ~= false
end

-- Return how many jobs may start now by the limit of the whole type, when its bucket is full again, and the ms until one more
-- may start; nil: when a running one ends.
local function allowed_of_type(type, limits)
  local limit = limits.all or {}
  local field = redis.call('HMGET', limit_key('state', type), 'full_at', 'hold', 'held_at')
  local free, full_at, wait = look_into(limit, number_of(field[1]))
  local held = held_for(number_of(field[2]), number_of(field[3]))
  if is_ahead(number_of(field[1]), full_at, number_of(field[3])) then
    redis.call('HSET', limit_key('state', type), 'full_at', whole(full_at), 'hold', whole(now + held), 'held_at', now_text)
  end
  if held > 0 then return 0, full_at, held end
  if limit.concurrency then
    local active = redis.call('ZCARD', type_key(type, 'active'))
    if active >= limit.concurrency then
      local from = active > CHECKS and now % (active - CHECKS + 1) or 0
      for _, zid in ipairs(redis.call('ZRANGE', type_key(type, 'active'), from, from + CHECKS - 1)) do
        if not is_running(id_of(zid), type) then active = active - 1 end
      end
    end
    if active >= limit.concurrency then return 0, full_at, nil end
    free = math.min(free, limit.concurrency - active)
  end
  if free > 0 then return free, full_at, nil end
  return 0, full_at, wait
end

-- Return how many waiting jobs could start now, and the ms after which more can; nil if that depends on running jobs.
local function startable(type, waiting)
  local limits, wrong = limits_of(type)
  if wrong then return nil, wrong end
  if not limits then return waiting end
  local free, _, wait = allowed_of_type(type, limits)
  if limits.key then waiting = waiting + redis.call('ZCARD', limit_key('turns', type)) end
  if waiting > 0 and free == 0 then return 0, wait end
  if limits.key and free > 0 then
    local ready = redis.call('ZRANGE', limit_key('ready', type), 0, 0, 'WITHSCORES')
    if ready[2] then wait = math.max(1, tonumber(ready[2]) - now) end
  end
  return math.min(waiting, free), wait
end

-- Set jobs aside, given as {zid, priority, key}; they are already delayed. A key that had none gets a turn, when it is checked
-- whether it must wait for a slot or its bucket.
local function note_aside(type, jobs)
  local lines, aside, keys = {}, {n = 0}, {}
  for _, job in ipairs(jobs) do
    add(aside, job[2], job[1])
    gather(lines, job[3], job[2], job[1])
  end
  send('ZADD', limit_key('aside', type), aside)
  for key, members in pairs(lines) do
    local line = line_key(type, key)
    if redis.call('EXISTS', line) == 0 then keys[#keys + 1] = key end
    pcall(send, 'ZADD', line, members)   -- a key of another type in Redis stops only this limit key
  end
  table.sort(keys)
  line_up(type, keys)
end

-- Whether a job is set aside for a key.
local function is_aside(id, type, key)
  local field = redis.call('HMGET', job_key(id), 'type', 'state', 'promote_at', 'limit_key')
  return field[1] == type and field[2] == 'delayed' and field[3] == ASIDE_UNTIL_MS and field[4] == key
end

-- The number of running jobs of a key. If the limit is reached, some holders are verified, and stale ones removed.
local function running_of_key(type, key, concurrency)
  local holders_key, first, last = limit_key('holders', type), '[' .. holder(key, ''), '(' .. #key .. ':' .. key .. ';'
  local count = redis.call('ZLEXCOUNT', holders_key, first, last)
  if count < concurrency then return count end
  local from = count > CHECKS and now % (count - CHECKS + 1) or 0
  for _, member in ipairs(redis.call('ZRANGEBYLEX', holders_key, first, last, 'LIMIT', from, CHECKS)) do
    local id = string.sub(member, #first)
    if not is_running(id, type) or redis.call('HGET', job_key(id), 'limit_key') ~= key then
      redis.call('ZREM', holders_key, member)
      count = count - 1
    end
  end
  return count
end

local function read_bucket(text)
  if not text or tonumber(text) then return number_of(text) end
  local full_at, hold, held_at = string.match(text, '^(%S+) (%S+) (%S+)$')
  return number_of(full_at), number_of(hold), number_of(held_at)
end

local function bucket_of(full_at, hold, held_at)
  if not hold or hold <= now then return full_at end
  return string.format('%.3f %.0f %.0f', full_at, hold, held_at)
end

-- Give a turn to keys whose bucket has a token again.
local function admit_ready(type)
  local ready_key = limit_key('ready', type)
  local keys = redis.call('ZRANGEBYSCORE', ready_key, '-inf', now_text, 'LIMIT', 0, LOOKS_MAX)
  if #keys > 0 then redis.call('ZREM', ready_key, unpack(keys)) end
  line_up(type, keys)
end

-- A job set aside for a key: its hash as a flat list, due now, priority and ttl; nil if it is not set aside.
local function read_aside(id, job_type, key)
  local flat = redis.pcall('HGETALL', job_key(id))
  if fault_of(flat) then return nil end
  local job, right = {flat = flat, priority = '0'}, 0
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if name == 'promote_at' then
      if value ~= ASIDE_UNTIL_MS then return nil end
      flat[i + 1], right = now_text, right + 1
    elseif name == 'state' then
      if value ~= 'delayed' then return nil end
      right = right + 1
    elseif name == 'type' then
      if value ~= job_type then return nil end
      right = right + 1
    elseif name == 'limit_key' then
      if value ~= key then return nil end
      right = right + 1
    elseif name == 'priority' then job.priority = score_of(value)
    elseif name == 'ttl' then job.ttl = value end
  end
  return right == 4 and job or nil
end

-- Take the next job of a key: return its zid and what read_aside returns; nil if there is none.
local function next_of_key(type, key, line)
  for _ = 1, LOOKS_MAX do
    local popped = redis.pcall('ZPOPMIN', line, 1)
    if fault_of(popped) or #popped == 0 then return nil end
    local job = read_aside(id_of(popped[1]), type, key)
    if job then return popped[1], job end
  end
end

-- Take the next jobs of a type, at most `count`, in the order of the keys' turns; each takes a slot of its key. Return what
-- ZPOPMIN would, and what read_aside returns, by zid. Without weights, many keys are taken at a time: the next turn of each is
-- after all of these.
local function take_turns(type, limit, count)
  local turns_key, buckets_key = limit_key('turns', type), limit_key('buckets', type)
  local each = limit.count and limit.period / limit.count
  local popped_jobs, zids, jobs, looks, turn = {}, {}, {}, 0, nil
  local is_weighted = redis.call('EXISTS', limit_key('weights', type)) == 1
  local running = limit.concurrency and redis.call('ZCARD', limit_key('holders', type))   -- of all keys
  admit_ready(type)
  while #zids < count and looks < LOOKS_MAX do
    local popped = redis.call('ZPOPMIN', turns_key, is_weighted and 1 or math.min(count - #zids, LOOKS_MAX))
    if #popped == 0 then break end
    local keys, lists = {}, {in_turn = {n = 0}, ready = {n = 0}, full = {n = 0}, holders = {n = 0}, buckets = {n = 0}}
    for at = 1, #popped, 2 do keys[#keys + 1] = popped[at] end
    local buckets = redis.call('HMGET', buckets_key, unpack(keys))
    looks, turn = looks + #keys, popped[#popped]
    for n, key in ipairs(keys) do
      local line = line_key(type, key)
      local kept_full_at, hold, held_at = read_bucket(buckets[n])
      local free, full_at, wait = look_into(limit, kept_full_at)
      local held = held_for(hold, held_at)
      if is_ahead(kept_full_at, full_at, held_at) then add(lists.buckets, key, bucket_of(full_at, now + held, now)) end
      local may_start, room, zid, job = held == 0 and free > 0, math.huge, nil, nil
      if may_start and limit.concurrency and running + #zids + 2 > limit.concurrency then   -- else there is room for two
        room = limit.concurrency - running_of_key(type, key, limit.concurrency)
      end
      if may_start and room > 0 then zid, job = next_of_key(type, key, line) end
      if zid then
        zids[#zids + 1], jobs[zid] = zid, job
        popped_jobs[2 * #zids - 1], popped_jobs[2 * #zids] = zid, 0
        add(lists.holders, 0, holder(key, id_of(zid)))
        room = room - 1
        if each then
          add(lists.buckets, key, full_at + each)
          free, full_at, wait = look_into(limit, full_at + each)
        end
      end
      local left = redis.pcall('ZCARD', line)
      if not fault_of(left) and left > 0 then
        if held > 0 or free < 1 then
          add(lists.ready, whole(now + math.max(held, free < 1 and wait or 0)), key)
        elseif room < 1 then
          add(lists.full, now_text, key)
        else
          local weight = is_weighted and number_of(redis.call('HGET', limit_key('weights', type), key)) or 1
          add(lists.in_turn, popped[2 * n] + 1 / weight, key)
        end
      end
    end
    send('ZADD', turns_key, lists.in_turn)
    send('ZADD', limit_key('ready', type), lists.ready)
    send('ZADD', limit_key('full', type), lists.full)
    send('ZADD', limit_key('holders', type), lists.holders)
    send('HSET', buckets_key, lists.buckets)
  end
  if turn then redis.call('HSET', limit_key('state', type), 'turn', turn) end
  if #zids > 0 then redis.call('ZREM', limit_key('aside', type), unpack(zids)) end
  return popped_jobs, jobs
end

-- Set aside the inactive jobs of a type (created by Node, promoted, or released), each for its key.
-- `discard(id, zid, type, state, priority, is_hash)` is called for entries that are not such jobs.
local function sort_waiting(type, limit, discard)
  local popped = redis.call('ZPOPMIN', type_key(type, 'inactive'), LOOKS_MAX)
  local leaving, entering, entering_type, jobs = {n = 0}, {n = 0}, {n = 0}, {}
  for at = 1, #popped, 2 do
    local zid, id = popped[at], id_of(popped[at])
    local field = redis.pcall('HMGET', job_key(id), 'type', 'state', 'priority', 'data')
    local is_hash = not fault_of(field)
    local priority = score_of(is_hash and field[3] or '0')
    if is_hash and field[1] == type and field[2] == 'inactive' then
      local key = key_from(limit, field[4])
      redis.call('HSET', job_key(id), 'state', 'delayed', 'updated_at', now_text, 'promote_at', ASIDE_UNTIL_MS,
        'limit_key', key)
      add(leaving, zid)
      add(entering, ASIDE_UNTIL_MS, zid)
      add(entering_type, priority, zid)
      jobs[#jobs + 1] = {zid, priority, key}
      publish(id, 'postpone', ',"Waiting for the turn of its key",' .. ASIDE_UNTIL_MS)
    else
      discard(id, zid, is_hash and field[1], is_hash and field[2], priority, is_hash)
    end
  end
  send('ZREM', state_key('inactive'), leaving)
  send('ZADD', state_key('delayed'), entering)
  send('ZADD', type_key(type, 'delayed'), entering_type)
  note_aside(type, jobs)
end

-- Record that this many jobs of a type have started.
local function count_started(type, full_at, limit, count)
  if limit and limit.count then
    redis.call('HSET', limit_key('state', type), 'full_at', string.format('%.3f', full_at + count * limit.period / limit.count))
  end
  redis.call('HINCRBY', limit_key('state', type), 'admitted', count)
end
