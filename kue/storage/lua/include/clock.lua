--- @lazy
--- @include "sets"
-- The server's clock, as the queue saw it last: it may jump (a laptop wakes up, a machine is moved, an operator sets it), and
-- while the server is down or frozen nobody can renew anything. What was promised by time then keeps the time it had left.
--   q:clock  hash  seen: epoch ms of the last look, by whichever process; some look each quarter of a second
--                  granted: epoch ms until which leases were prolonged after the last gap
--                  ahead, ahead_since: ms of the last jump forward, and the last look before it, unless it was undone
local clock_key = prefix .. ':clock'
local DEADLINES_FROM = 100000   -- lower scores in q:jobs:active are priorities
local LOOK_MS = 100             -- how often a look is written down
local BACK_MS = 1000            -- smaller steps back are the ordinary correction of a clock
local BEYOND_MS = 253402300000000   -- due times from here on are none: suspended, waiting for other jobs, or standing aside

-- Move the members of a zset whose score lies above `from`, to what `moved(score, member)` returns, if that is a number.
local function move_scores(key, from, moved)
  local changes = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. whole(from), '(' .. whole(BEYOND_MS))) do
    local score = moved(tonumber(redis.call('ZSCORE', key, member)), member)
    if score then changes[#changes + 1] = {whole(score), member} end
  end
  for _, change in ipairs(changes) do redis.call('ZADD', key, change[1], change[2]) end
end

-- Attempts with a ttl: their deadlines move with the clock.
local function move_deadlines(seen, jump)
  move_scores(state_key('active'), math.max(DEADLINES_FROM, math.min(seen, now)), function(deadline)
    if jump > 0 then return deadline > seen and deadline + jump or nil end
    return deadline + jump >= now and deadline + jump or nil   -- else it was set after the jump
  end)
end

-- Delayed jobs, after a step back: those that wait for some time, not for a date. If it undoes a jump forward, by which
-- they did not move, those from before both move by the difference alone.
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

-- Compare the clock with the last look. `blind`: ms without a look after which leases may have expired through no fault of their
-- workers; 0 leaves all as it is. `grace`: ms in which every living worker renews its leases. `elapsed`: ms that the caller's
-- own clock says since its last look, or 0 if it has had none: so much of a gap is time that really went by.
local function watch_clock(blind, grace, elapsed)
  if blind <= 0 then return end
  local field = redis.pcall('HMGET', clock_key, 'seen', 'granted', 'ahead', 'ahead_since')
  if fault_of(field) then   -- somebody wrote another kind of key there; without this one nothing would be rescued any more
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
    -- A lease that was good at the last look has the time it had then, at most the grace. Older ones have expired. Where the
    -- gap is the caller's own standing still, as it may do again and again, only a lease that was renewed since the last gap.
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
    if gap + ahead < blind then   -- all of the jump forward is undone
      move_delayed(gap, ahead, ahead_since)
      redis.call('HDEL', clock_key, 'ahead', 'ahead_since')
    else
      move_delayed(gap, 0, 0)
    end
  else
    return
  end
  redis.call('HSET', clock_key, 'granted', whole(now + grace))
  redis.call('PUBLISH', prefix .. ':revoked', '* * renew')   -- let every worker renew its leases at once
end
