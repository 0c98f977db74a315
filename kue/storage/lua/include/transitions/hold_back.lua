--- @lazy
--- @include "transitions/release"
--- @include "limits/admission"
-- Release a job for `delay` ms, and start no other job of its key meanwhile; without a limit by key, none of its type.
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
    redis.call('HSETNX', limits_key(), type, '{}')   -- an empty limit, so that the hold is checked; removed afterwards
  end
  return OK
end
