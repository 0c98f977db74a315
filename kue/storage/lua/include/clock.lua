--- @lazy
--- @include "sets"
-- Jumps of the server's clock, and gaps: a laptop wakes up, a virtual machine is moved, an operator sets the clock; and while
-- the server is down or frozen nobody can renew a lease. Leases, deadlines and delays then keep the time that they had left.
--   q:clock  hash  seen: epoch ms of the last check by any process; some process checks at least twice a second
--                  granted: epoch ms until which leases were extended after the last gap
--                  ahead, ahead_since: ms of the last jump forward, and the last check before it, unless it was undone
local clock_key = prefix .. ':clock'
local DEADLINES_FROM = 100000   -- lower scores in q:jobs:active are priorities
local LOOK_MS = 100             -- how often a check is recorded
local BACK_MS = 1000            -- smaller steps back are ordinary clock corrections
local BEYOND_MS = 253402300000000   -- from here on, no due times: suspended, waiting for children, or set aside

-- Change the scores above `from` in a zset to what `moved(score, member)` returns, if that is a number.
local function move_scores(key, from, moved)
  local changes = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. whole(from), '(' .. whole(BEYOND_MS))) do
    local score = moved(tonumber(redis.call('ZSCORE', key, member)), member)
    if score then changes[#changes + 1] = {whole(score), member} end
  end
  for _, change in ipairs(changes) do redis.call('ZADD', key, change[1], change[2]) end
end

-- Deadlines of attempts with a ttl move with the clock.
local function move_deadlines(seen, jump)
  move_scores(state_key('active'), math.max(DEADLINES_FROM, math.min(seen, now)), function(deadline)
    if jump > 0 then return deadline > seen and deadline + jump or nil end
    return deadline + jump >= now and deadline + jump or nil   -- else it was set after the jump
  end)
end

-- Delayed jobs move after a step back, unless they wait for a date. If the step undoes a jump forward, which did not move
-- them, those from before both move by the difference only.
local function move_delayed(jump, ahead, ahead_since)
  move_scores(state_key('delayed'), now, function(due, member)
    local key = job_key(id_of(member))
    local field = redis.call('HMGET', key, 'due_at', 'updated_at')
    local updated_at = number_of(field[2]) or 0
    local changed = now - updated_at
    if field[1] == whole(due) or (changed >= 0 and changed < BACK_MS) then return nil end
    local step = updated_at <= ahead_since and math.min(0, jump + ahead) or jump
    local earlier = math.max(now, due + step)
    if earlier == due then return nil end
    redis.call('HSET', key, 'promote_at', whole(earlier))
    return earlier
  end)
end

-- Compare the clock with the last check. `blind`: ms without a check after which leases may have expired although their workers
-- are alive; 0 changes nothing. `grace`: ms in which every live worker renews its leases. `elapsed`: ms since the caller's last
-- check by its own monotonic clock, or 0 if it has had none: this much of a gap is time that really passed.
local function watch_clock(blind, grace, elapsed)
  if blind <= 0 then return end
  local field = redis.pcall('HMGET', clock_key, 'seen', 'granted', 'ahead', 'ahead_since')
  if fault_of(field) then   -- a key of another type; it is replaced, since nothing could be rescued without it
    redis.call('DEL', clock_key)
    field = {}
  end
  local seen, granted = number_of(field[1]), number_of(field[2]) or 0
  if seen and now >= seen and now - seen < LOOK_MS then return end
  redis.call('HSET', clock_key, 'seen', now_text)
  local gap = seen and now - seen or 0
  if gap > blind then
    local jump = gap - elapsed
    local has_jumped = jump > blind
    -- A lease that was valid at the last check keeps the time it had left then, at most the grace. Older ones have expired. If
    -- the caller itself was stopped, which may happen repeatedly, only leases renewed since the last gap are extended.
    move_scores(leases_key, has_jumped and seen or math.max(seen, granted), function(expires)
      return expires < now + grace and math.min(expires + gap, now + grace) or nil
    end)
    if has_jumped then
      move_deadlines(seen, jump)
      redis.call('HSET', clock_key, 'ahead', whole(jump), 'ahead_since', whole(seen))
    end
  elseif gap < -BACK_MS then
    move_scores(leases_key, now + grace, function(expires) return math.max(expires + gap, now + grace) end)
    move_deadlines(seen, gap)
    for _, type in ipairs(limited_types()) do look_again(type) end
    local ahead, ahead_since = number_of(field[3]) or 0, number_of(field[4]) or 0
    if gap + ahead < blind then   -- the jump forward is undone completely
      move_delayed(gap, ahead, ahead_since)
      redis.call('HDEL', clock_key, 'ahead', 'ahead_since')
    else
      move_delayed(gap, 0, 0)
    end
  else
    return
  end
  redis.call('HSET', clock_key, 'granted', whole(now + grace))
  redis.call('PUBLISH', prefix .. ':revoked', '* * renew')   -- let every worker renew its leases immediately
end
