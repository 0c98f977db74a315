--- @include "tokens"
-- inactive -> active, up to the number of free slots of each type.
local GARBAGE_MAX = 1000   -- broken entries that one call clears away before it gives up looking

local function pairs_of(flat)
  local field = {}
  for i = 1, #flat, 2 do field[flat[i]] = flat[i + 1] end
  return field
end

-- An entry of q:jobs:TYPE:inactive without a job that could run: take it out, erase what has no type.
local function discard(id, zid, type, state)
  if not type then
    erase(id, zid, false, false)
  elseif state ~= 'inactive' then
    redis.call('ZREM', state_key('inactive'), zid)
  end
end

-- `slots`: the numbers of the free slots. Appends {id, token, hash as a flat list} to `taken`.
local function reserve_type(type, slots, worker, nonce, lease_until, taken)
  local waiting_key, garbage, filled = type_key(type, 'inactive'), 0, 0
  while filled < #slots and garbage < GARBAGE_MAX do
    local popped = redis.call('ZPOPMIN', waiting_key, #slots - filled)
    if #popped == 0 then break end
    local leaving, entering, entering_type, leasing = {}, {}, {}, {}
    for i = 1, #popped, 2 do
      local zid, id = popped[i], id_of(popped[i])
      local flat = redis.call('HGETALL', job_key(id))
      local field = pairs_of(flat)
      if field.type and field.state == 'inactive' then
        filled = filled + 1
        local token, priority = nonce .. '.' .. (#taken + 1), field.priority or '0'
        redis.call('HSET', job_key(id), 'state', 'active', 'started_at', now_text, 'updated_at', now_text,
          'workerId', worker .. ':' .. type .. ':' .. slots[filled], 'token', token)
        leaving[#leaving + 1] = zid
        entering[#entering + 1] = active_score(priority, field.ttl); entering[#entering + 1] = zid
        entering_type[#entering_type + 1] = priority; entering_type[#entering_type + 1] = zid
        leasing[#leasing + 1] = lease_until; leasing[#leasing + 1] = id
        taken[#taken + 1] = {id, token, slots[filled], flat}
      else
        garbage = garbage + 1
        discard(id, zid, field.type, field.state)
      end
    end
    if #leaving > 0 then
      redis.call('ZREM', state_key('inactive'), unpack(leaving))
      redis.call('ZADD', state_key('active'), unpack(entering))
      redis.call('ZADD', type_key(type, 'active'), unpack(entering_type))
      redis.call('ZADD', leases_key, unpack(leasing))
      for _, zid in ipairs(leaving) do publish(id_of(zid), 'start', ',' .. json(type) .. ',null') end
    end
  end
  balance_tokens(type)
end

-- The jobs that an earlier call with the same nonce took, when its reply was lost.
local function taken_by(nonce)
  local taken = {}
  for _, id in ipairs(redis.call('ZRANGE', leases_key, 0, -1)) do
    local flat = redis.call('HGETALL', job_key(id))
    local field = pairs_of(flat)
    if field.state == 'active' and field.token and string.sub(field.token, 1, #nonce + 1) == nonce .. '.' then
      taken[#taken + 1] = {id, field.token, string.match(field.workerId or '', ':(%d+)$') or '0', flat}
    end
  end
  return taken
end

-- Returns the reserved jobs, and those of the types that are paused.
-- ARGV from `at`: lease_ms, nonce, worker "kue:host:pid", again (1: the reply to this nonce was lost), the number of
-- types, and for each type its name, the number of its free slots, and their numbers.
local function reserve(at)
  local lease_until, nonce, worker = whole(now + tonumber(ARGV[at])), ARGV[at + 1], ARGV[at + 2]
  local taken = ARGV[at + 3] == '1' and taken_by(nonce) or {}
  local again = #taken > 0
  local types, paused_key, paused = tonumber(ARGV[at + 4]), prefix .. ':paused', {}
  at = at + 5
  for _ = 1, types do
    local type, count = ARGV[at], tonumber(ARGV[at + 1])
    local slots = {}
    for i = 1, count do slots[i] = ARGV[at + 1 + i] end
    at = at + 2 + count
    if redis.call('SISMEMBER', paused_key, type) == 1 then
      paused[#paused + 1] = type
      balance_tokens(type)
    elseif not again then
      reserve_type(type, slots, worker, nonce, lease_until, taken)
    end
  end
  return taken, paused
end
