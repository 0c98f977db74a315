--- @lazy
--- @include "common"
-- The keys in Redis of limits, and how a job leaves them. admission.lua decides which jobs may start.
--   q:limits                        hash  type -> JSON: all, the limit of the type; key, the one of each key
--   q:limit:state:TYPE              hash  full_at (the bucket), hold and held_at, turn (of the key that started last), admitted
--   q:limit:aside:TYPE              zset  zid by priority: the jobs set aside
--   q:limit:turns|ready|full:TYPE   zset  the keys of these jobs, each in one of the three. turns: those that may start, by
--                                         turn; ready: those that wait for their bucket, by epoch ms; full: those at their
--                                         concurrency, by the time of the last check
--   q:limit:weights:TYPE            hash  key -> weight
--   q:limit:buckets:TYPE            hash  key -> full_at, or "full_at hold held_at"
--   q:limit:holders:TYPE            zset  "N:KEY:id" of the running jobs, all with score 0; N is the length of KEY
--   q:limit:jobs:N:TYPE:KEY         zset  zid by priority: the jobs of a key that are set aside; N is the length of TYPE
--   q:limit:leaving                 set   types whose jobs are no longer set aside: the limit by key was removed or changed
--   q:limit:leaving:TYPE            zset  these jobs
-- A job that waits for its key's turn is set aside: delayed until ASIDE_UNTIL_MS, with its key in the field `limit_key`. The
-- job's hash decides: entries of these sets without such a job are invalid, and removed when they are found.
local ASIDE_UNTIL_MS = '253402300797000'   -- as in states.py

local function limits_key() return prefix .. ':limits' end
local function limit_key(part, type) return prefix .. ':limit:' .. part .. ':' .. type end
local function line_key(type, key) return prefix .. ':limit:jobs:' .. #type .. ':' .. type .. ':' .. key end
local function holder(key, id) return #key .. ':' .. key .. ':' .. id end

local function limited_types()
  local types = redis.pcall('HKEYS', limits_key())
  return fault_of(types) and {} or types
end

-- Put keys at the end of the turns; a key with weight 2 only half as far back.
local function line_up(type, keys)
  if #keys == 0 then return end
  local turn = number_of(redis.call('HGET', limit_key('state', type), 'turn')) or 0
  local weights, places = redis.call('HMGET', limit_key('weights', type), unpack(keys)), {}
  for n, key in ipairs(keys) do
    places[2 * n - 1] = string.format('%.17g', turn + 1 / (number_of(weights[n]) or 1))
    places[2 * n] = key
  end
  redis.call('ZADD', limit_key('turns', type), unpack(places))
end

-- Give every waiting key a turn, so that it is checked again: a limit has changed, or the clock was set back.
local function look_again(type)
  local turns, ready, full = limit_key('turns', type), limit_key('ready', type), limit_key('full', type)
  redis.call('ZUNIONSTORE', turns, 3, turns, ready, full, 'WEIGHTS', 1, 0, 0, 'AGGREGATE', 'MAX')
  redis.call('DEL', ready, full)
end

-- Jobs of a type have stopped running (given as holders and keys): keys that wait for a slot get a turn, and a worker is
-- notified. A key that was not waiting is checked once in vain. Errors here must not end a script between its writes.
local function free_slots(type, holders, keys)
  fault_of(redis.pcall('ZREM', limit_key('holders', type), unpack(holders)))
  local waited = redis.pcall('ZREM', limit_key('full', type), unpack(keys))
  if fault_of(waited) or waited == 0 then return end
  pcall(line_up, type, keys)
  redis.call('LPUSH', tokens_key(type), '1')
end

local function free_slot(id, type, key) free_slots(type, {holder(key, id)}, {key}) end

-- A delayed job leaves its state: if it was set aside, it no longer is.
local function leave_aside(id, type)
  local key = redis.call('HGET', job_key(id), 'limit_key')
  local left = key and redis.pcall('ZREM', limit_key('aside', type), zid_of(id))
  if left and (fault_of(left) or left == 1) then fault_of(redis.pcall('ZREM', line_key(type, key), zid_of(id))) end
end
