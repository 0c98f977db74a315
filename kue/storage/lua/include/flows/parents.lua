--- @lazy
--- @include "sets"
--- @include "batch_args"
-- Flows: jobs (parents) that wait for others (children).
--   q:job:ID:children   zset of a parent: score -n for its nth child while pending, n once complete, n plus one of the
--                       numbers below once failed or removed
--   children            field of the parent: their number; children_ended: how many of them are no longer pending
--   on_child_failure    field of the parent: what to do if a child fails: 'fail', 'ignore' or 'wait'
--   failed_child        field of a parent that failed because this child did
--   suspended_wait      field of a parent that waited when it was suspended
--   parents             field of the child: the ids of its parents, with commas
-- A waiting parent is delayed, with this time in promote_at. Any other change of its state ends the wait.
local WAIT_UNTIL_MS = '253402300798000'
local FAILED_FROM, REMOVED_FROM = 2 ^ 41, 2 ^ 42

local function children_key(id) return job_key(id) .. ':children' end
local function pending_children(id) return redis.call('ZCOUNT', children_key(id), '-inf', '(0') end

-- Fail a waiting parent because its child failed. Return the message.
local function fail_parent(id, type, priority, message, child)
  local zid = zid_of(id)
  redis.call('HSET', job_key(id), 'error', message, 'failed_at', now_text, 'failed_child', child)
  append_log(id, message)
  leave(zid, type, 'delayed')
  enter(id, zid, type, 'failed', priority)
  publish(id, 'error', ',' .. json(message))
  publish(id, 'failed', ',' .. json(message) .. ',null')
  return message
end

-- All children of a parent have ended: it runs immediately, after its delay, or at its date.
local function release_parent(id, type, priority, delay)
  local zid, wait = zid_of(id), number_of(delay)
  local due = wait and wait > 0 and (number_of(redis.call('HGET', job_key(id), 'due_at')) or now + math.floor(wait))
  if due and due > now then
    local promote_at = whole(due)
    redis.call('HSET', job_key(id), 'promote_at', promote_at)
    return enter(id, zid, type, 'delayed', priority, promote_at)
  end
  redis.call('HSET', job_key(id), 'promote_at', now_text)
  leave(zid, type, 'delayed')
  publish(id, 'promotion', '')
  enqueue(id, zid, type, priority)
end

-- Fail or release a parent that waits, or is about to, if it has nothing to wait for any more. Return the message if it
-- failed.
local function review_parent(id, type, priority, policy, delay)
  if policy == 'fail' then
    local bad = redis.call('ZRANGEBYSCORE', children_key(id), whole(FAILED_FROM), '+inf', 'LIMIT', 0, 1)[1]
    if bad then return fail_parent(id, type, priority, 'Its child, job ' .. bad .. ', failed or was removed', bad) end
  end
  if pending_children(id) == 0 then release_parent(id, type, priority, delay) end
end

-- Children have ended: 'complete', or one of them 'failed' or 'removed'. Count each once for a parent, which is read and written
-- once. Return a message if the parent failed because of it.
local function settle_one(parent, children, how, why)
  local key, moved = children_key(parent), {n = 0}
  local band_from = how == 'failed' and FAILED_FROM or how == 'removed' and REMOVED_FROM or 0
  for n, text in ipairs(redis.call('ZMSCORE', key, unpack(children))) do
    local score = number_of(text)
    if score and score <= 0 then add(moved, whole(band_from - score), children[n]) end
  end
  if moved.n == 0 then return nil end
  local field = redis.call('HMGET', job_key(parent), 'type', 'state', 'priority', 'on_child_failure', 'promote_at', 'delay',
    'children')
  local type, policy = field[1], field[4] or 'fail'
  if not type then redis.call('DEL', key); return nil end
  if how == 'failed' and policy == 'wait' then return nil end   -- until it is retried, or removed
  send('ZADD', key, moved)
  local count, total = moved.n / 2, number_of(field[7])
  local ended = redis.call('HINCRBY', job_key(parent), 'children_ended', count)
  for n = ended - count + 1, ended do publish(parent, 'child', ',' .. n .. ',' .. (total or n)) end
  if field[2] ~= 'delayed' or field[5] ~= WAIT_UNTIL_MS then return nil end
  if how == 'complete' and ended < (total or 0) then return nil end   -- the usual case: others are pending
  if how ~= 'complete' and policy == 'fail' then
    local message = 'Its child, job ' .. children[1] .. ', ' .. (how == 'failed' and 'failed: ' .. why or 'was removed')
    return fail_parent(parent, type, field[3] or '0', message, children[1])
  end
  return review_parent(parent, type, field[3] or '0', policy, field[6])
end

-- A job has ended: update its parents, and theirs if they fail as a result. `parents` is its field, or nil to read it.
local function settle(id, how, why, parents)
  local ended, at = {{id, how, why, parents or redis.call('HGET', job_key(id), 'parents')}}, 1
  while ended[at] do
    local child = ended[at]
    at = at + 1
    for parent in string.gmatch(child[4] or '', '[^,]+') do
      local message = settle_one(parent, {child[1]}, child[2], child[3])
      if message then ended[#ended + 1] = {parent, 'failed', message, redis.call('HGET', job_key(parent), 'parents')} end
    end
  end
end

-- Jobs have completed: update their parents. `ended`: by parent, the ids of its children.
local function settle_completed(ended)
  for parent, children in pairs(ended) do
    local message = settle_one(parent, children, 'complete', '')
    if message then settle(parent, 'failed', message) end
  end
end

-- A failed job will run again: its parents wait for it again, including those that failed because of it. A parent that failed
-- because of another child waits for this one when that other child is retried.
local function unsettle(id)
  local again = {id}
  while #again > 0 do
    local child = table.remove(again)
    for parent in string.gmatch(redis.call('HGET', job_key(child), 'parents') or '', '[^,]+') do
      local score = number_of(redis.call('ZSCORE', children_key(parent), child) or '')
      local field = redis.call('HMGET', job_key(parent), 'type', 'state', 'priority', 'promote_at', 'failed_child',
        'suspended_wait')
      local waits = field[2] == 'delayed' and (field[4] == WAIT_UNTIL_MS or (field[4] == HOLD_UNTIL_MS and field[6]))
      local failed_by_it = field[2] == 'failed' and field[5] == child
      if score and score >= FAILED_FROM and (waits or (field[2] == 'failed' and field[5])) then
        redis.call('ZADD', children_key(parent), whole((score >= REMOVED_FROM and REMOVED_FROM or FAILED_FROM) - score), child)
        redis.call('HINCRBY', job_key(parent), 'children_ended', -1)
        if failed_by_it then
          local zid = zid_of(parent)
          redis.call('HDEL', job_key(parent), 'error', 'failed_at', 'failed_child')
          redis.call('HSET', job_key(parent), 'promote_at', WAIT_UNTIL_MS)
          leave(zid, field[1], 'failed')
          enter(parent, zid, field[1], 'delayed', field[3] or '0', WAIT_UNTIL_MS)
          append_log(parent, 'Waiting again: its child, job ' .. child .. ', was retried')
          again[#again + 1] = parent
        end
      end
    end
  end
end
