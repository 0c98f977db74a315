--[[
  record_history: record the statistics of a time span (a minute, half an hour) for the charts.

  Every web process receives the same events and records the same span. The largest value of each figure is kept, so a
  repeated call or a process that started late changes nothing.

  ARGV[3] name        "minutes" or "halves": the hash q:history:NAME
  ARGV[4] at          number of the span since the epoch
  ARGV[5] figures     JSON object of numbers
  ARGV[6] kept        spans to keep; older ones are removed
  Returns    1
  Publishes  nothing
]]
--- @include "common"
local key, at, figures, kept = prefix .. ':history:' .. ARGV[3], ARGV[4], cjson.decode(ARGV[5]), tonumber(ARGV[6])
local known = redis.call('HGET', key, at)
if known then
  for name, value in pairs(cjson.decode(known)) do
    if not figures[name] or figures[name] < value then figures[name] = value end
  end
else
  local oldest = tonumber(at) - kept
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if tonumber(field) <= oldest then redis.call('HDEL', key, field) end
  end
end
redis.call('HSET', key, at, json(figures))
return 1
