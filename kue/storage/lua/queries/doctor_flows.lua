--[[
  doctor_flows: check that parents wait only for existing children that have not ended; repair it on request.

  ARGV[3] 1: repair
  ARGV[4…] pairs: the id of a parent, and a score: CHILDREN of its children above it are checked ('-inf': from the first)
  Returns    {{id, the score to continue from or '', code, detail, code, detail, …}, …} for each with problems or further
             children. Codes: orphan (children of no job), gone and ended (detail: a child), stuck, count
  Publishes  the events of include/flows/parents.lua
]]
--- @include "flows/parents"
local CHILDREN = 100
local fix = ARGV[3] == '1'

local function look_at_children(parent, policy, from, answer)
  local found = redis.call('ZRANGEBYSCORE', children_key(parent), from, '(0', 'WITHSCORES', 'LIMIT', 0, CHILDREN)
  for at = 1, #found, 2 do
    local child, code = found[at], nil
    local field = redis.call('HMGET', job_key(child), 'type', 'state', 'error')
    if not field[1] then
      code = 'gone'
      if fix then settle(child, 'removed', '', parent) end
    elseif field[2] == 'complete' or (field[2] == 'failed' and policy ~= 'wait') then
      code = 'ended'
      if fix then settle(child, field[2], string.match(field[3] or '', '^[^\n]*'), parent) end
    end
    if code then answer[#answer + 1], answer[#answer + 2] = code, child end
  end
  return #found == 2 * CHILDREN and '(' .. found[#found] or ''
end

local function look(parent, from)
  local answer, key = {parent, ''}, children_key(parent)
  local field = redis.call('HMGET', job_key(parent), 'type', 'state', 'promote_at', 'on_child_failure')
  if not field[1] then
    if redis.call('EXISTS', key) == 0 then return nil end
    if fix then redis.call('DEL', key) end
    answer[3], answer[4] = 'orphan', ''
    return answer
  end
  answer[2] = look_at_children(parent, field[4] or 'fail', from, answer)
  if answer[2] ~= '' then return answer end
  -- Read again: its children may have released it just now.
  local now_is = redis.call('HMGET', job_key(parent), 'type', 'state', 'promote_at', 'priority', 'on_child_failure', 'delay',
    'children_ended')
  local pending = pending_children(parent)
  if pending == 0 and now_is[2] == 'delayed' and now_is[3] == WAIT_UNTIL_MS then
    answer[#answer + 1], answer[#answer + 2] = 'stuck', ''
    if fix then
      local message = review_parent(parent, now_is[1], now_is[4] or '0', now_is[5] or 'fail', now_is[6])
      if message then settle(parent, 'failed', message) end
    end
  end
  local ended = redis.call('ZCARD', key) - pending
  if (ended > 0 or pending > 0) and number_of(now_is[7] or '0') ~= ended then
    answer[#answer + 1], answer[#answer + 2] = 'count', now_is[7] or '0'
    if fix then redis.call('HSET', job_key(parent), 'children_ended', ended) end
  end
  return #answer > 2 and answer or nil
end

local answers = {}
for at = 4, #ARGV, 2 do answers[#answers + 1] = look(ARGV[at], ARGV[at + 1]) end
return answers
