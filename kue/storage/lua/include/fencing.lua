--- @include "sets"
-- Fencing: an attempt may write to its job only while its token is the one in the hash, and the job has a lease. A token
-- stays behind when an attempt ends, and a Node worker that takes the job next does not know it: it has no lease. Nor does
-- Node know leases: where it took a job that ours still ran (its dashboard had put it back), it wrote another started_at
-- than the one that the token names.
local OK, DONE, GONE, LOST = 1, 0, -1, -2

local function names_start(token, started_at)
  local named = token and string.match(token, '@(%d+)$')
  return not named or tonumber(named) == tonumber(started_at or '')
end

local function is_leased(id)
  if not redis.call('ZSCORE', leases_key, id) then return false end
  local field = redis.call('HMGET', job_key(id), 'token', 'started_at')
  return names_start(field[1], field[2])
end

-- For a write in mid-attempt; '' is somebody outside an attempt, who needs no token.
local function may_write(id, token, state, kept_token)
  return token == '' or (state == 'active' and kept_token == token and is_leased(id))
end

-- Returns the fields of an active job, else nil and a code: GONE (no such job) or LOST (not active), and its token.
local function active(id)
  local field = redis.call('HMGET', job_key(id),
    'token', 'state', 'type', 'priority', 'attempts', 'max_attempts', 'removeOnComplete', 'started_at', 'workerId', 'ttl',
    'result', 'parents', 'deaths', 'limit_key')
  if not field[3] then return nil, GONE end
  if field[2] ~= 'active' then return nil, LOST, field[1] end
  return {
    id = id, zid = zid_of(id), type = field[3], priority = score_of(field[4] or '0'),
    attempts = number_of(field[5]) or 0, max_attempts = number_of(field[6]) or 0,
    remove_on_complete = field[7] and field[7] ~= '', started_at = number_of(field[8]) or now, worker = field[9] or '',
    ttl = field[10], has_old_result = field[11], parents = field[12],
    deaths = number_of(field[13]), limit_key = field[14],
  }, OK, field[1]
end

-- A job under which worker processes died: `deaths` counts them since it last ended by itself, `alone` is the token of the
-- attempt in which its process ran nothing else. It ended by itself now, so it is cleared.
local function clear_suspicion(job)
  if job.deaths then redis.call('HDEL', job_key(job.id), 'deaths', 'alone') end
end

-- Node's ttl watcher may have seen the job overdue by now: without an answer it would fail in a second what has ended here.
local function answer_watcher(job)
  local deadline = job.ttl and tonumber(redis.call('ZSCORE', state_key('active'), job.zid) or '')
  if deadline and deadline <= now then publish(job.id, 'ttl exceeded ack', '') end
end

-- An attempt ends: drops its lease and returns the job's fields if `token` holds the job, else nil and a code: DONE
-- (this very attempt was acknowledged already, so a repeated call does no harm), GONE (no such job) or LOST (the attempt
-- lost its job). Its slot is free, if it is limited by key, or is gathered in `freed`.
local function end_attempt(id, token, freed)
  local job, code, kept_token = active(id)
  if code == GONE then return nil, GONE end
  if kept_token ~= token then return nil, LOST end
  if not job then return nil, DONE end
  if redis.call('ZREM', leases_key, id) == 0 or not names_start(token, job.started_at) then return nil, LOST end
  answer_watcher(job)
  if job.limit_key and not freed then
    free_slot(id, job.type, job.limit_key)
  elseif job.limit_key then
    local of = freed[job.type] or {holders = {}, keys = {}}
    freed[job.type] = of
    of.holders[#of.holders + 1], of.keys[#of.keys + 1] = holder(job.limit_key, id), job.limit_key
  end
  return job
end
