--- @lazy
--- @include "common"
-- Remember an attempt that did not complete (one that did is told by the hash's own fields): the newest 20.
local ATTEMPTS_KEPT, ERROR_KEPT, STACK_KEPT = 20, 300, 4000

-- The first bytes of a text, without the half of a character at their end.
local function beginning(text, bytes)
  if #text <= bytes then return text end
  while bytes > 0 and string.byte(text, bytes + 1) >= 128 and string.byte(text, bytes + 1) < 192 do bytes = bytes - 1 end
  return string.sub(text, 1, bytes)
end

local function attempts_of(id)
  local read, entries = pcall(cjson.decode, redis.call('HGET', job_key(id), 'attempt_log') or '')
  if not read or type(entries) ~= 'table' then return {} end   -- somebody else wrote there
  for at = #entries, 1, -1 do
    if type(entries[at]) ~= 'table' then table.remove(entries, at) end
  end
  return entries
end

-- Returns the field `attempt_log` with one more attempt.
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
  return written and text or json({entries[#entries]})   -- what somebody else wrote there may be no JSON, as NaN
end

local function record_attempt(job, outcome, message)
  redis.call('HSET', job_key(job.id), 'attempt_log', attempts_with(job, outcome, message))
end
