--- @lazy
--- @include "sets"
-- Schedules: q:schedules by when they are due, and a hash for each. One that is paused or has ended is due at HOLD_UNTIL_MS,
-- as a suspended job is.
local schedules_key = prefix .. ':schedules'
local RUNS_KEPT = 10

local function schedule_key(name) return prefix .. ':schedule:' .. name end

-- Whether a schedule is as the caller knows it: its definition by its digest, and the time that it is to fire next.
-- '' is none; for the digest, that there is no such schedule.
local function is_as_known(name, sha, next_at)
  local field = redis.call('HMGET', schedule_key(name), 'definition', 'next_at')
  return (field[1] and redis.sha1hex(field[1]) or '') == sha and (field[2] or '') == next_at
end

-- The next time of a schedule, and when it is due; '' for none.
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

-- Remember a run, one of the newest: `job` is an id, '' if none was created, and has an h before it if run by hand.
local function record_run(name, at, late, job)
  local key, runs = schedule_key(name), {}
  for run in string.gmatch(redis.call('HGET', key, 'runs') or '', '[^,]+') do runs[#runs + 1] = run end
  runs[#runs + 1] = at .. ':' .. late .. ':' .. job
  if #runs > RUNS_KEPT then table.remove(runs, 1) end
  redis.call('HSET', key, 'runs', table.concat(runs, ','))
end
