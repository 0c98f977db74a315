--- @lazy
-- What webhooks are told of: an event that one of them wants goes into the stream q:webhooks:outbox in the step in which it
-- happens, so nobody who is killed loses it. dispatch_webhooks.lua makes jobs of it.
local OUTBOX_MAX = 100000   -- events that wait there at most; further ones are counted in q:webhooks:dropped

local function wants_event(event)
  if wanted_events == nil then read_wanted_events() end
  return wanted_events and string.find(wanted_events, '\n' .. event .. '\t', 1, true)
end

-- Any further fields come as name and value.
local function put_into_outbox(event, ...)
  local key = prefix .. ':webhooks:outbox'
  local length = redis.pcall('XLEN', key)
  if type(length) ~= 'number' then return end   -- a key of another kind: the doctor tells of it
  if length >= OUTBOX_MAX then return redis.pcall('INCR', prefix .. ':webhooks:dropped') end
  redis.pcall('XADD', key, '*', 'event', event, 'at', now_text, ...)
end

-- By what an event that Node publishes too is known again: the field `noted` of its job holds the last marks. Of an attempt
-- that is followed by another one it is the number of the attempt, else its start.
local function mark_of(event, args, started_at)
  if event == 'complete' or event == 'failed' then return '|' .. event .. '@' .. (started_at or '') .. '|' end
  local made = event == 'failed attempt' and string.match(args, ',(%d+)$')
  return made and '|' .. event .. '@' .. made .. '|'
end

-- `args` is JSON that begins with a comma, or ''. The jobs that deliver to webhooks are none of their business.
local function note_event(id, event, args)
  local text_max, delivery_type = 65536, 'webhook-delivery'   -- longer data, and arguments of an event, are left out
  if not wants_event(event) then return end
  local names = {'data', 'state', 'priority', 'attempts', 'max_attempts', 'created_at', 'started_at', 'failed_at', 'duration',
    'workerId'}
  local field = redis.call('HMGET', job_key(id), 'type', unpack(names))
  local job_type = field[1]
  if not job_type then   -- it was removed: the event tells its type, or it is nobody's
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
