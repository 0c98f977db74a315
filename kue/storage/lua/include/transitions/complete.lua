--- @include "attempts/fencing"
--- @include "batch_args"
--- @include "claims"
--- @include "flows/parents"
-- active -> complete, for any number of attempts: `complete` each, then `write_completed` once.
-- By type: members that leave and enter its sets, and free slots of keys. By parent: its completed children.
local completed, work_time, ended_children = {}, 0, {}

-- `result` is the JSON in the event ("null" for none); `kept` says whether to store it in the field `result`: Node stores only
-- truthy results. Others are stored in `exact_result`, with the start time of their attempt.
local function complete(id, token, result, kept)
  local job, code = end_attempt(id, token, true)
  if not job then return code end
  local type, duration = job.type, math.max(0, math.floor(now - job.started_at))
  local of = completed[type]
  if not of then
    of = {leaving = {n = 0}, entering = {n = 0}, holders = {}, keys = {}}
    completed[type] = of
  end
  work_time = work_time + duration
  add(of.leaving, job.zid)
  if job.limit_key then
    of.holders[#of.holders + 1], of.keys[#of.keys + 1] = holder(job.limit_key, id), job.limit_key
  end
  if job.remove_on_complete then
    let_claim_outlive(id)
    publish(id, 'complete', ',' .. result .. ',null')   -- before removal: a webhook's message contains its data
    erase_rest(id, job.zid)
    publish(id, 'remove', ',' .. json(type))
  else
    local fields = {'duration', duration, 'progress', '100', 'state', 'complete', 'updated_at', now_text}
    if kept == '1' then
      fields[9], fields[10] = 'result', result
    elseif result ~= 'null' or job.has_old_result then
      fields[9], fields[10] = 'exact_result', whole(job.started_at) .. '|' .. result
    end
    if job.attempts < job.max_attempts then
      fields[#fields + 1] = 'attempts'
      fields[#fields + 1] = job.attempts + 1
    end
    call('HSET', job.key, unpack(fields))
    if job.deaths then clear_suspicion(job) end
    add(of.entering, job.priority, job.zid)
    publish(id, 'complete', ',' .. result .. ',null')
  end
  if job.parents then
    for parent in string.gmatch(job.parents, '[^,]+') do
      local children = ended_children[parent] or {}
      children[#children + 1], ended_children[parent] = id, children
    end
  end
  return OK
end

local function write_completed()
  for type, of in pairs(completed) do
    send('ZREM', state_key('active'), of.leaving)
    send('ZREM', type_key(type, 'active'), of.leaving)
    send('ZADD', state_key('complete'), of.entering)
    send('ZADD', type_key(type, 'complete'), of.entering)
    if #of.keys > 0 then free_slots(type, of.holders, of.keys) end
  end
  if next(ended_children) then settle_completed(ended_children) end
  if next(completed) then
    redis.pcall('INCRBY', prefix .. ':stats:work-time', work_time)   -- an overflow does no harm
  end
end
