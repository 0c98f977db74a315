--[[
  create_unique: - -> inactive or delayed, unless a job with the same claim exists: see include/claims.lua.

  The cost of a call does not depend on the queue's length. Each drops some invalid claims (see also restore_tokens.lua).

  ARGV[3] ''   ARGV[4] JSON: entry, the claim; call, an id unique to this call; and as the producer chose
          until, for_ms, of_data (the claim is derived from the data), on_duplicate (return, reject, replace, extend)
  ARGV[5] 1
  ARGV[6…]     one job, as for create.lua; no lane is needed, since `call` identifies a repeated call
  Returns    {id, 1} created; or {id, 0, hash as a flat list} of the existing job. If that still waits, it was changed with
             on_duplicate replace (data, options, and its delay restarts) or extend (only its delay restarts).
  Publishes  enqueue if a waiting job was created; duplicate [on_duplicate] for the existing job, and enqueue if it was
             delayed and is due now
]]
--- @include "transitions/create"
--- @include "claims"
local SWEPT = 4
local claim = cjson.decode(ARGV[4])
local entry, key = claim.entry, nil

-- Until when a job created now is delayed, and its field `delay`; nil: it is not delayed.
local function due_at()
  local delay = ARGV[10]
  if delay == '' then return nil end
  if string.sub(delay, 1, 1) == '@' then
    local due = tonumber(string.sub(delay, 2))
    return due > now and whole(due) or nil, whole(due - now)
  end
  return whole(now + math.floor(tonumber(delay))), delay
end

local function set(name, value)
  if value == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, value) end
end

-- Give the waiting job `id` the values of the new one.
local function overwrite(id, type, state, priority, promote_at)
  local zid, is_held = zid_of(id), promote_at == HOLD_UNTIL_MS or promote_at == WAIT_UNTIL_MS
  if claim.on_duplicate == 'replace' then
    priority = ARGV[8]
    set('data', ARGV[7]); set('priority', priority); set('max_attempts', ARGV[9]); set('ttl', ARGV[11])
    set('backoff', ARGV[12])
    redis.call('HDEL', key, 'removeOnComplete', 'traceparent', 'tracestate', 'baggage')
    local last = {n = 0}
    set_last(last, ARGV[13])
    send('HSET', key, last)
    if claim.of_data then redis.call('HSET', key, 'unique_data', redis.sha1hex(ARGV[7])) end
    redis.call('ZADD', all_key, score_of(priority), zid)
    unindex(id)
    if ARGV[14] and ARGV[14] ~= '' then index(id, ARGV[14]) end
  end
  local due, delay = due_at()
  if claim.on_duplicate == 'extend' and not due then return end
  set('delay', due and delay or '')
  if is_held then return place(id, zid, type, 'delayed', priority, '', promote_at) end   -- until resumed, or its children have ended
  redis.call('HSET', key, 'promote_at', due or now_text)
  if due then
    if state ~= 'delayed' then leave(zid, type, state) end
    return enter(id, zid, type, 'delayed', priority, due)
  end
  if state == 'inactive' then return enter(id, zid, type, 'inactive', priority) end
  leave(zid, type, state)
  enqueue(id, zid, type, priority)
end

local claimed, is_gone = claimed_by(entry)
if claimed then
  key = job_key(claimed)
  if is_gone then
    publish(claimed, 'duplicate', ',' .. json(claim.on_duplicate))
    return {tonumber(claimed), 0, {}}
  end
  local field = redis.call('HMGET', key, 'unique_call', 'type', 'state', 'priority', 'promote_at')
  if field[1] == claim.call then return {tonumber(claimed), 1} end
  if (claim.on_duplicate == 'replace' or claim.on_duplicate == 'extend')
    and (field[3] == 'inactive' or field[3] == 'delayed') then
    overwrite(claimed, field[2], field[3], field[4] or '0', field[5])
  end
  publish(claimed, 'duplicate', ',' .. json(claim.on_duplicate))
  return {tonumber(claimed), 0, redis.call('HGETALL', key)}
end

local id = whole(create())
sweep_claims(SWEPT)
redis.call('HSET', job_key(id), 'unique_call', claim.call)
set_claim(id, claim, ARGV[7])
return {tonumber(id), 1}
