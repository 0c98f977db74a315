--- @lazy
--- @include "common"
-- Record an attempt that did not complete, at most the newest 20. One that did is described by the hash's own fields.
local ATTEMPTS_KEPT, ERROR_KEPT, STACK_KEPT = 20, 300, 4000

-- The first bytes of a text, without an incomplete character at the end.
local function beginning(text, bytes)
  if #text <= bytes then return text end
  while bytes > 0 and string.byte(text, bytes + 1) >= 128 and string.byte(text, bytes + 1) < 192 do bytes = bytes - 1 end
  return string.sub(text, 1, bytes)
end

local function attempts_of(id)
  local read, entries = pcall(cjson.decode, redis.call('HGET', job_key(id), 'attempt_log') or '')
  if not read or type(entries) ~= 'table' then return {} end   -- written by another program
  for at = #entries, 1, -1 do
    if type(entries[at]) ~= 'table' then table.remove(entries, at) end
  end
  return entries
end

-- Return the field `attempt_log` with one more attempt.
local function attempts_with(job, outcome, message, stack)
  local entries = attempts_of(job.id)
  local last = entries[#entries]
  entries[#entries + 1] = {
    number = (last and number_of(last.number) or 0) + 1, started_at = job.started_at, ended_at = now,
    worker = redis.call('HGET', job.key, 'workerId') or '', outcome = outcome, error = beginning(message, ERROR_KEPT),
    stack = stack and beginning(stack, STACK_KEPT),
  }
  if #entries > ATTEMPTS_KEPT then table.remove(entries, 1) end
  local written, text = pcall(json, entries)
  return written and text or json({entries[#entries]})   -- another program's entries may be invalid JSON, such as NaN
end

local function record_attempt(job, outcome, message)
  redis.call('HSET', job_key(job.id), 'attempt_log', attempts_with(job, outcome, message))
end
