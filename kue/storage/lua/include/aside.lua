--- @lazy
--- @include "common"
-- Keys of limits, and how a job leaves them. Which jobs may start is in limits.lua.
--   q:limits                        hash  type -> JSON: all, the limit of the type; key, the one of each key
--   q:limit:state:TYPE              hash  full_at (the bucket), hold and held_at, turn (of the key that started last), admitted
--   q:limit:aside:TYPE              zset  zid by priority: the jobs that stepped aside
--   q:limit:turns|ready|full:TYPE   zset  the keys of these jobs, each in one of the three: by turn, those that may start; by
--                                         epoch ms, those that must wait for their bucket; by the time of the last look at
--                                         them, those with as many running jobs as they may have
--   q:limit:weights:TYPE            hash  key -> weight
--   q:limit:buckets:TYPE            hash  key -> full_at, or "full_at hold held_at"
--   q:limit:holders:TYPE            zset  "N:KEY:id" of the running jobs, all by 0; N is the length of KEY
--   q:limit:jobs:N:TYPE:KEY         zset  zid by priority: the jobs of a key that stepped aside; N is the length of TYPE
--   q:limit:leaving                 set   types whose jobs go back into line: the limit by key is gone, or goes by another key
--   q:limit:leaving:TYPE            zset  these jobs
-- A job that stepped aside is delayed until ASIDE_UNTIL_MS, and its field `limit_key` names its key. That is what counts: an
-- entry of these sets without such a job is void, and is dropped when it is met.
local ASIDE_UNTIL_MS = '253402300797000'   -- as in states.py

local function limits_key() return prefix .. ':limits' end
local function limit_key(part, type) return prefix .. ':limit:' .. part .. ':' .. type end
local function line_key(type, key) return prefix .. ':limit:jobs:' .. #type .. ':' .. type .. ':' .. key end
local function holder(key, id) return #key .. ':' .. key .. ':' .. id end

local function limited_types()
  local types = redis.pcall('HKEYS', limits_key())
  return fault_of(types) and {} or types
end

-- Give keys their turns after those that have not had theirs since: a turn of weight 2 comes after half the way.
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

-- Let all keys that wait for anything take a turn, to be looked at: a limit has changed, or the clock was set back.
local function look_again(type)
  local turns, ready, full = limit_key('turns', type), limit_key('ready', type), limit_key('full', type)
  redis.call('ZUNIONSTORE', turns, 3, turns, ready, full, 'WEIGHTS', 1, 0, 0, 'AGGREGATE', 'MAX')
  redis.call('DEL', ready, full)
end

-- Jobs of a type run no longer, given as their holders and their keys: the keys that wait for a slot have one, and a worker
-- is told. A key that did not wait is looked at once in vain. Nothing here may end a script in the middle of its writes.
local function free_slots(type, holders, keys)
  fault_of(redis.pcall('ZREM', limit_key('holders', type), unpack(holders)))
  local waited = redis.pcall('ZREM', limit_key('full', type), unpack(keys))
  if fault_of(waited) or waited == 0 then return end
  pcall(line_up, type, keys)
  redis.call('LPUSH', tokens_key(type), '1')
end

local function free_slot(id, type, key) free_slots(type, {holder(key, id)}, {key}) end

-- A delayed job leaves its state: it waits aside no longer, if it did.
local function leave_aside(id, type)
  local key = redis.call('HGET', job_key(id), 'limit_key')
  local left = key and redis.pcall('ZREM', limit_key('aside', type), zid_of(id))
  if left and (fault_of(left) or left == 1) then fault_of(redis.pcall('ZREM', line_key(type, key), zid_of(id))) end
end
