--- @lazy
-- The outbox of webhooks: an event that a webhook receives is appended to the stream q:webhooks:outbox atomically with the
-- event itself, so no crash can lose it. dispatch_webhooks.lua turns the entries into jobs.
local OUTBOX_MAX = 100000   -- maximum number of entries; further ones are counted in q:webhooks:dropped

local function wants_event(event)
  if wanted_events == nil then read_wanted_events() end
  return wanted_events and string.find(wanted_events, '\n' .. event .. '\t', 1, true)
end

-- Further fields are passed as name, value, …
local function put_into_outbox(event, ...)
  local key = prefix .. ':webhooks:outbox'
  local length = redis.pcall('XLEN', key)
  if type(length) ~= 'number' then return end   -- a key of another type: the doctor reports it
  if length >= OUTBOX_MAX then return redis.pcall('INCR', prefix .. ':webhooks:dropped') end
  redis.pcall('XADD', key, '*', 'event', event, 'at', now_text, ...)
end

-- A mark by which an event that Node publishes too is recognized when it is seen again: the job's field `noted` holds the last
-- marks. For an attempt that is followed by another one it is the attempt's number, else its start time.
local function mark_of(event, args, started_at)
  if event == 'complete' or event == 'failed' then return '|' .. event .. '@' .. (started_at or '') .. '|' end
  local made = event == 'failed attempt' and string.match(args, ',(%d+)$')
  return made and '|' .. event .. '@' .. made .. '|'
end

-- `args` is JSON that begins with a comma, or ''. Events of delivery jobs are never delivered.
local function note_event(id, event, args)
  local text_max, delivery_type = 65536, 'webhook-delivery'   -- longer data and event arguments are left out
  if not wants_event(event) then return end
  local names = {'data', 'state', 'priority', 'attempts', 'max_attempts', 'created_at', 'started_at', 'failed_at', 'duration',
    'workerId'}
  local field = redis.call('HMGET', job_key(id), 'type', unpack(names))
  local job_type = field[1]
  if not job_type then   -- it was removed: the event contains its type, or is dropped
    job_type = string.sub(args, 1, 2) == ',"' and cjson.decode('[' .. string.sub(args, 2) .. ']')[1] or ''
  end
  if job_type == delivery_type then return end
  local line = '\n' .. event .. '\t'
  if not string.find(wanted_events, line .. '*\n', 1, true)
    and not string.find(wanted_events, line .. json(job_type) .. '\n', 1, true) then return end
  local mark = field[1] and mark_of(event, args, field[8])
  if mark then redis.call('HSET', job_key(id), 'noted', string.sub((redis.call('HGET', job_key(id), 'noted') or '') .. mark, -1000)) end
  local entry = {'id', id, 'type', job_type, 'args', string.sub(args, 2)}
  if #args > text_max then entry[5], entry[6] = 'left_out', 'args' end
  for n, name in ipairs(names) do
    local value = field[n + 1]
    if value and #value > text_max then name, value = 'left_out', name end
    if value then
      entry[#entry + 1] = name
      entry[#entry + 1] = value
    end
  end
  put_into_outbox(event, unpack(entry))
end
