--- @lazy
--- @include "common"
--- @include "limits/aside"
-- The sets that a job is in, and how it is added and removed.
local LOG_LINES = 1000   -- newest lines of a job's log that are kept
local HOLD_UNTIL_MS = '253402300799000'   -- the due time of a suspended job, as in states.py
-- The search indexes: reds' and ours.
local INDEXES = {prefix .. ':search:', prefix .. ':search:text:'}

-- For operators' scripts. Return a job's key, zid, type, state and priority; no type: no such job.
local function locate(id)
  local key = job_key(id)
  local field = redis.call('HMGET', key, 'type', 'state', 'priority')
  return key, zid_of(id), field[1], field[2], field[3] or '0'
end

local function leave(zid, type, state)
  if state == 'delayed' then leave_aside(id_of(zid), type) end
  redis.call('ZREM', state_key(state), zid)
  redis.call('ZREM', type_key(type, state), zid)
end

local function enter(id, zid, type, state, priority, score)
  redis.call('HSET', job_key(id), 'state', state, 'updated_at', now_text)
  redis.call('ZADD', state_key(state), score_of(score or priority), zid)
  redis.call('ZADD', type_key(type, state), score_of(priority), zid)
end

-- A job becomes inactive, with a wake-up token, since Node's workers block on it.
local function enqueue(id, zid, type, priority)
  enter(id, zid, type, 'inactive', priority)
  redis.call('LPUSH', tokens_key(type), '1')
  publish(id, 'enqueue', ',' .. json(type))
end

-- Put a job into the sets of a state, with the right score.
local function place(id, zid, type, state, priority, ttl, promote_at)
  if state == 'inactive' then return enqueue(id, zid, type, priority) end
  local score
  if state == 'delayed' then score = promote_at or now_text end
  if state == 'active' then score = active_score(priority, ttl) end
  enter(id, zid, type, state, priority, score)
end

local function append_log(id, line)
  local key = log_key(id)
  if redis.call('RPUSH', key, line) > LOG_LINES then redis.call('LTRIM', key, -LOG_LINES, -1) end
end

-- Remove a job's lease, and notify its worker on q:revoked.
local function revoke(id, reason)
  local field = redis.call('HMGET', job_key(id), 'token', 'type', 'limit_key')
  local token = field[1]
  redis.call('HDEL', job_key(id), 'token')
  if field[3] then free_slot(id, field[2], field[3]) end
  if redis.call('ZREM', leases_key, id) == 1 then
    redis.call('PUBLISH', prefix .. ':revoked', id .. ' ' .. (token or '') .. ' ' .. reason)
  end
end

-- Remove a job from the search indexes.
local function unindex(id)
  for _, index in ipairs(INDEXES) do
    local object = index .. 'object:' .. id
    local words = redis.call('ZRANGE', object, 0, -1)
    for _, word in ipairs(words) do redis.call('ZREM', index .. 'word:' .. word, id) end
    if #words > 0 then redis.call('DEL', object) end
  end
end

-- Erase everything of a job except its state's sets and its lease.
local function erase_rest(id, zid)
  redis.call('ZREM', all_key, zid)
  unindex(id)
  redis.call('DEL', job_key(id), log_key(id), job_key(id) .. ':children')
end

-- Erase everything of a job; `type` and `state` may be false.
local function erase(id, zid, type, state)
  if state then
    if type and state == 'delayed' then leave_aside(id, type) end
    redis.call('ZREM', state_key(state), zid)
    if type then redis.call('ZREM', type_key(type, state), zid) end
  else
    for _, each in ipairs({'inactive', 'active', 'complete', 'failed', 'delayed'}) do
      leave(zid, type or '', each)
    end
  end
  revoke(id, 'removed')
  erase_rest(id, zid)
end
