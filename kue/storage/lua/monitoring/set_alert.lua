--[[
  set_alert: record a rule's condition; report once when its alert begins and once when it ends.

  ARGV[3] JSON: name; level (bad, between or good); text; begin_after_ms: how long it must be bad before the alert begins
  ARGV[4] how long it must be good before the alert ends, ms
  Returns    "started", "ended", or "" if neither
  Publishes  nothing; the event alert goes into the outbox of webhooks
  Hash       q:alerts, name -> JSON: text, bad_since, good_since, started_at (if active), seen_at
]]
--- @include "common"
local key, asked, end_after = prefix .. ':alerts', cjson.decode(ARGV[3]), tonumber(ARGV[4])
local read, entry = pcall(cjson.decode, redis.call('HGET', key, asked.name) or '{}')
if not read or type(entry) ~= 'table' then entry = {} end
local started_at = number_of(entry.started_at)

local function tell(kind)
  if not wants_event('alert') then return end
  put_into_outbox('alert', 'kind', kind, 'alert', asked.name, 'text', asked.text, 'started_at', entry.started_at)
end

local happened = ''
if asked.level == 'bad' then
  entry.good_since = nil
  entry.bad_since = entry.bad_since or now_text
  if not started_at and now - (number_of(entry.bad_since) or now) >= asked.begin_after_ms then
    entry.started_at, happened = now_text, 'started'
    tell('alert.started')
  end
elseif not started_at then
  redis.call('HDEL', key, asked.name)
  return ''
elseif asked.level == 'good' then
  entry.good_since = entry.good_since or now_text
  if now - (number_of(entry.good_since) or now) >= end_after then
    tell('alert.ended')
    redis.call('HDEL', key, asked.name)
    return 'ended'
  end
else
  entry.good_since = nil
end
entry.text, entry.seen_at = asked.text, now_text
redis.call('HSET', key, asked.name, json(entry))
return happened
