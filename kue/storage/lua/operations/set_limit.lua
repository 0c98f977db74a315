--[[
  set_limit: set, change or remove a limit of a type. Applies immediately to all workers.

  ARGV[3] type   ARGV[4] part: all (the type as a whole) or key (each key of it)
  ARGV[5] the limit as JSON: count and period (ms) of its rate, burst, concurrency; by, path and of_url for the key; or '' to remove it
  ARGV[6…] weights of keys: key, weight, …
  Returns    1 changed, 0 there was no such limit to remove; an error if a key of the type's limits has another type
  Publishes  nothing; "* * resumed" on q:revoked, so that workers check again immediately
]]
--- @include "limits/admission"
local type, part, text = ARGV[3], ARGV[4], ARGV[5]
local limits, wrong = limits_of(type)
if wrong then return {err = wrong} end
limits = limits or {}
local old, new = limits[part], text ~= '' and cjson.decode(text) or nil
if not old and not new then return 0 end
limits[part] = new
if limits.all or limits.key then
  redis.call('HSET', limits_key(), type, json(limits))
else
  redis.call('HDEL', limits_key(), type)
end
if part == 'key' then
  redis.call('DEL', limit_key('weights', type))
  if #ARGV > 5 then redis.call('HSET', limit_key('weights', type), unpack(ARGV, 6)) end
  look_again(type)
  if old and (not new or old.by ~= new.by) then
    local aside, leaving = limit_key('aside', type), limit_key('leaving', type)
    redis.call('ZUNIONSTORE', leaving, 2, leaving, aside)
    redis.call('DEL', aside)
    redis.call('SADD', prefix .. ':limit:leaving', type)
  end
end
redis.call('PUBLISH', prefix .. ':revoked', '* * resumed')
return 1
