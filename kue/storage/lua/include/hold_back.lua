--- @lazy
--- @include "release"
--- @include "limits"
-- release for `delay` ms, and start no other job of its key in that time; of its type, if that is not limited by key.
local function hold_back(id, token, reason, delay)
  local field = redis.call('HMGET', job_key(id), 'type', 'limit_key')
  local code = release(id, token, reason, delay)
  if code ~= OK then return code end
  local type, key, ms = field[1], field[2], tonumber(delay)
  local limits = limits_of(type)
  if limits and limits.key and key then
    local full_at = read_bucket(redis.call('HGET', limit_key('buckets', type), key))
    redis.call('HSET', limit_key('buckets', type), key, bucket_of(full_at or now, now + ms, now))
  else
    fault_of(redis.pcall('HSET', limit_key('state', type), 'hold', whole(now + ms), 'held_at', now_text))
    redis.call('HSETNX', limits_key(), type, '{}')   -- a limit, so that the hold is looked at; it goes when that is over
  end
  return OK
end
