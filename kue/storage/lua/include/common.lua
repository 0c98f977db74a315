-- The start of every script. The contract they share:
--   KEYS[1] q:jobs   selects the slot in a Cluster; every other key of the queue is in the same slot
--   ARGV[1] prefix   "q"
--   ARGV[2] now_ms   epoch ms, or 0: the server's TIME, so that machines need not agree (tests set the clock with it)
-- Keys are built from the prefix, as in keys.py.
local call = redis.call
local prefix, now = ARGV[1], tonumber(ARGV[2])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The integer part, like JavaScript's parseInt: a delay or ttl may have a fraction. Lua writes large numbers as 1.79e+12.
local function whole(number) return string.format('%.0f', math.floor(number)) end
local now_text = whole(now)

local function job_key(id) return prefix .. ':job:' .. id end
local function log_key(id) return prefix .. ':job:' .. id .. ':log' end
local function state_key(state) return prefix .. ':jobs:' .. state end
local function type_key(type, state) return prefix .. ':jobs:' .. type .. ':' .. state end
local function tokens_key(type) return prefix .. ':' .. type .. ':jobs' end
local all_key, leases_key, channel = prefix .. ':jobs', prefix .. ':leases', prefix .. ':events'

local zid_heads = {}
local function zid_of(id)
  local head = zid_heads[#id] or string.format('%02d|', #id)
  zid_heads[#id] = head
  return head .. id
end
local function id_of(zid) return string.sub(zid, (string.find(zid, '|', 1, true) or 0) + 1) end

-- The error in a reply of redis.pcall if it concerns one key (another type of key, denied by an ACL), else nil. Other errors,
-- such as a full or read-only server, end the script.
local function fault_of(reply)
  local fault = type(reply) == 'table' and reply.err
  if not fault then return nil end
  if string.find(fault, 'WRONGTYPE', 1, true) or string.find(fault, 'ermission', 1, true) then return fault end
  error(fault, 0)
end

-- A field's number; nil for other text, NaN and infinity: any program may write into a hash.
local function number_of(text)
  local number = text and tonumber(text)
  return number and number - number == 0 and number or nil
end

-- A field as a sorted set's score. A score that Redis refuses would end the script between two writes.
local function score_of(text)
  if text == '0' then return text end   -- the usual case
  if string.find(text, '^%-?%d+$') and #text < 16 then return text end
  return string.format('%.17g', number_of(text) or 0)
end

-- Jobs without a ttl have negative scores in q:jobs:active, outside the range that Node's ttl watcher reads.
local function active_score(priority, ttl)
  if number_of(ttl) then return whole(now + number_of(ttl)) end
  priority = score_of(priority)
  if priority == '0' or tonumber(priority) == 0 then return '0' end
  return string.sub(priority, 1, 1) == '-' and priority or '-' .. priority
end

-- JSON as JavaScript writes it: cjson would escape slashes.
local function json(value) return (string.gsub(cjson.encode(value), '\\/', '/')) end

local wanted_events   -- the events of webhooks: "\nfailed\t*\nfailed\t"email"\n…", as save_webhook.lua writes them; false: none
local function read_wanted_events()
  local text = redis.pcall('GET', prefix .. ':webhooks:events')
  wanted_events = type(text) == 'string' and text
end

--- @include "outbox"
-- `args` is JSON that begins with a comma, or ''.
local function publish(id, event, args)
  local json_id = string.find(id, '^%d+$') and id or json(id)
  call('PUBLISH', channel, '{"id":' .. json_id .. ',"event":"' .. event .. '","args":["' .. event .. '"' .. args .. ']}')
  if event == 'progress' then return end   -- never sent to webhooks
  if wanted_events == nil then read_wanted_events() end
  if wanted_events then note_event(id, event, args) end
end
