--- @include "sets"
-- Fencing: an attempt may write to its job only while its fencing token is the one in the hash, and the job has a lease. The
-- token stays in the hash when an attempt ends; a Node worker that runs the job next does not change it, but has no lease. If
-- Node takes a job that one of our workers still runs (its dashboard had queued it again), the lease is still there; then
-- started_at differs from the one in the token.
local OK, DONE, GONE, LOST = 1, 0, -1, -2

local function names_start(token, started_at)
  if token and started_at and string.sub(token, -#started_at - 1) == '@' .. started_at then return true end
  local named = token and string.match(token, '@(%d+)$')
  return not named or tonumber(named) == tonumber(started_at or '')
end

local function is_leased(id)
  if not redis.call('ZSCORE', leases_key, id) then return false end
  local field = redis.call('HMGET', job_key(id), 'token', 'started_at')
  return names_start(field[1], field[2])
end

-- For a write during an attempt; '' is a caller outside an attempt, which needs no token.
local function may_write(id, token, state, kept_token)
  return token == '' or (state == 'active' and kept_token == token and is_leased(id))
end

-- Return an active job's fields, else nil and a code: GONE (no such job) or LOST (not active). Then the token in its hash.
-- `is_ours`: a worker of this library reserved it last, or it is unknown.
local function active(id)
  local key = job_key(id)
  local field = call('HMGET', key, 'token', 'state', 'type', 'priority', 'attempts', 'max_attempts', 'started_at',
    'removeOnComplete', 'ttl', 'result', 'parents', 'deaths', 'limit_key')
  if not field[3] then return nil, GONE end
  if field[2] ~= 'active' then return nil, LOST, field[1] end
  return {
    id = id, key = key, zid = zid_of(id), type = field[3], priority = score_of(field[4] or '0'),
    attempts = number_of(field[5]) or 0, max_attempts = number_of(field[6]) or 0,
    started_at = number_of(field[7]) or now, is_ours = names_start(field[1], field[7]),
    remove_on_complete = field[8] and field[8] ~= '', ttl = field[9], has_old_result = field[10], parents = field[11],
    deaths = number_of(field[12]), limit_key = field[13],
  }, OK, field[1]
end

--- @lazy
-- Node's ttl watcher may have seen the job overdue: without a reply it would fail the job within a second, though it has ended.
local function answer_watcher(job)
  local deadline = tonumber(redis.call('ZSCORE', state_key('active'), job.zid) or '')
  if deadline and deadline <= now then publish(job.id, 'ttl exceeded ack', '') end
end

-- A job whose worker processes died: `deaths` counts them since it last ended regularly, `alone` is the token of the attempt
-- during which its process ran nothing else. It has now ended regularly, so both are removed.
--- @lazy
local function clear_suspicion(job) call('HDEL', job.key, 'deaths', 'alone') end

-- End an attempt: remove its lease and return the job if `token` holds it, else nil and a code: DONE (this attempt was already
-- acknowledged, so a repeated call does no harm), GONE (no such job) or LOST (the attempt lost its job). The slot of its key, if
-- any, becomes free, unless the caller `frees` it.
local function end_attempt(id, token, frees)
  local job, code, kept_token = active(id)
  if code == GONE then return nil, GONE end
  if kept_token ~= token then return nil, LOST end
  if not job then return nil, DONE end
  if call('ZREM', leases_key, id) == 0 or not job.is_ours then return nil, LOST end
  if job.ttl then answer_watcher(job) end
  if job.limit_key and not frees then free_slot(id, job.type, job.limit_key) end
  return job
end
