--[[
  record_delivery: record the outcome of a delivery attempt, unless the webhook was removed meanwhile.

  ARGV[3] name   ARGV[4] the attempt, JSON   ARGV[5] 1 if it failed   ARGV[6] attempts to keep
  Returns    since when all attempts have failed, epoch ms; 0 after a success, or if the webhook was removed
  Publishes  nothing
]]
--- @include "common"
local key = prefix .. ':webhook:' .. ARGV[3]
if redis.call('SISMEMBER', prefix .. ':webhooks', ARGV[3]) == 0 then return 0 end
redis.call('LPUSH', key .. ':deliveries', ARGV[4])
redis.call('LTRIM', key .. ':deliveries', 0, ARGV[6] - 1)
if ARGV[5] == '1' then
  redis.call('HINCRBY', key, 'failed', 1)
  redis.call('HSETNX', key, 'failing_since', now_text)
  return tonumber(redis.call('HGET', key, 'failing_since')) or now
end
redis.call('HINCRBY', key, 'delivered', 1)
redis.call('HDEL', key, 'failing_since')
return 0
