--- @lazy
--- @include "sets"
-- Schedules: the zset q:schedules by due time, and a hash for each. A paused or ended one is due at HOLD_UNTIL_MS, like a
-- suspended job.
local schedules_key = prefix .. ':schedules'
local RUNS_KEPT = 10

local function schedule_key(name) return prefix .. ':schedule:' .. name end

-- Whether a schedule is unchanged since the caller read it: the digest of its definition ('': it did not exist), and its next
-- time ('': none).
local function is_as_known(name, sha, next_at)
  local field = redis.call('HMGET', schedule_key(name), 'definition', 'next_at')
  return (field[1] and redis.sha1hex(field[1]) or '') == sha and (field[2] or '') == next_at
end

-- Set a schedule's next time, and when it is due; '' for none.
local function set_next(name, next_at, due)
  local key = schedule_key(name)
  if next_at == '' then
    redis.call('HDEL', key, 'next_at')
    redis.call('ZADD', schedules_key, HOLD_UNTIL_MS, name)
  else
    redis.call('HSET', key, 'next_at', next_at)
    redis.call('ZADD', schedules_key, due, name)
  end
end

-- Record a run; only the newest are kept. `job` is an id, preceded by h if run by hand; '' if none was created.
local function record_run(name, at, late, job)
  local key, runs = schedule_key(name), {}
  for run in string.gmatch(redis.call('HGET', key, 'runs') or '', '[^,]+') do runs[#runs + 1] = run end
  runs[#runs + 1] = at .. ':' .. late .. ':' .. job
  if #runs > RUNS_KEPT then table.remove(runs, 1) end
  redis.call('HSET', key, 'runs', table.concat(runs, ','))
end
