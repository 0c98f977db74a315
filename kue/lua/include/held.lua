--- @include "sets"
-- Fencing: an attempt may write to its job only while its token is the one in the hash.
local OK, DONE, GONE, LOST = 1, 0, -1, -2

-- Returns the job's fields while `token` holds it, else nil and a code: DONE (this very attempt was acknowledged
-- already, so a repeated call does no harm), GONE (no such job) or LOST (the attempt lost its job).
local function held(id, token)
  local field = redis.call('HMGET', job_key(id),
    'token', 'state', 'type', 'priority', 'attempts', 'max_attempts', 'removeOnComplete', 'started_at', 'workerId')
  if not field[3] then return nil, GONE end
  if field[1] ~= token then return nil, LOST end
  if field[2] ~= 'active' then return nil, DONE end
  return {
    id = id, zid = zid_of(id), type = field[3], priority = field[4] or '0',
    attempts = tonumber(field[5]) or 0, max_attempts = tonumber(field[6]) or 0,
    remove_on_complete = field[7] and field[7] ~= '', started_at = tonumber(field[8]) or now, worker = field[9] or '',
  }
end

-- Remember an attempt that did not complete (one that did is told by the hash's own fields): the newest 20.
local ATTEMPTS_KEPT, ERROR_KEPT = 20, 300
local function record_attempt(job, outcome, message)
  local key = job_key(job.id)
  local kept = redis.call('HGET', key, 'attempt_log')
  local entries = kept and cjson.decode(kept) or {}
  local last = entries[#entries]
  entries[#entries + 1] = {
    number = (last and last.number or 0) + 1, started_at = job.started_at, ended_at = now,
    worker = job.worker, outcome = outcome, error = string.sub(message, 1, ERROR_KEPT),
  }
  if #entries > ATTEMPTS_KEPT then table.remove(entries, 1) end
  redis.call('HSET', key, 'attempt_log', json(entries))
end

local function leave_active(job)
  leave(job.zid, job.type, 'active')
  redis.call('ZREM', leases_key, job.id)
end
