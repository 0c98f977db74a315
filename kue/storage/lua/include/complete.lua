--- @include "fencing"
--- @include "batch_args"
--- @include "claims"
--- @include "flows"
-- active -> complete, for any number of attempts that ended: `complete` each, then `write_completed` once.
local completed = {leave = {}, enter = {}, freed = {}, work_time = 0, any = false}

-- `result` is JSON as the event shows it ("null" for none); `kept` tells whether the field `result` keeps it: Node stores
-- truthy results only. Any other is kept in `exact_result`, with the start of the attempt that it belongs to.
local function complete(id, token, result, kept)
  local job, code = end_attempt(id, token, completed.freed)
  if not job then return code end
  local zid, type, duration = job.zid, job.type, math.max(0, now - job.started_at)
  completed.any, completed.work_time = true, completed.work_time + duration
  gather(completed.leave, state_key('active'), zid)
  gather(completed.leave, type_key(type, 'active'), zid)
  if job.remove_on_complete then
    let_claim_outlive(id)
    publish(id, 'complete', ',' .. result .. ',null')   -- while a webhook can be told of its data
    erase_rest(id, zid)
    publish(id, 'remove', ',' .. json(type))
    if job.parents then settle(id, 'complete', '', job.parents) end
    return OK
  end
  local fields = {'duration', whole(duration), 'progress', '100', 'state', 'complete', 'updated_at', now_text}
  if kept == '1' then
    fields[9], fields[10] = 'result', result
  elseif result ~= 'null' or job.has_old_result then
    fields[9], fields[10] = 'exact_result', whole(job.started_at) .. '|' .. result
  end
  if job.attempts < job.max_attempts then
    fields[#fields + 1] = 'attempts'
    fields[#fields + 1] = whole(job.attempts + 1)
  end
  redis.call('HSET', job_key(id), unpack(fields))
  clear_suspicion(job)
  gather(completed.enter, state_key('complete'), job.priority, zid)
  gather(completed.enter, type_key(type, 'complete'), job.priority, zid)
  publish(id, 'complete', ',' .. result .. ',null')
  if job.parents then settle(id, 'complete', '', job.parents) end
  return OK
end

local function write_completed()
  if not completed.any then return end
  write_out('ZREM', completed.leave)
  write_out('ZADD', completed.enter)
  for type, of in pairs(completed.freed) do free_slots(type, of.holders, of.keys) end
  redis.pcall('INCRBY', prefix .. ':stats:work-time', whole(completed.work_time))   -- a sum that overflows harms nobody
end
