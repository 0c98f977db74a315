--[[
  move_schedule: pause or resume a schedule, or choose its next time anew after the clock was set back.

  ARGV[3] name     ARGV[4] pause, resume or move
  ARGV[5] sha      digest of its definition as read   ARGV[6] its next occurrence as read, '' for none
  ARGV[7] following, ARGV[8] when that is due; '' if there is none
  Returns    1 done, 0 it is paused (resumed, moved) already or has changed since it was read, -1 no such schedule
  Publishes  nothing
]]
--- @include "schedules"
local name, verb = ARGV[3], ARGV[4]
local key = schedule_key(name)
if redis.call('HEXISTS', key, 'definition') == 0 then return -1 end
local is_paused = redis.call('HGET', key, 'paused') == '1'
if verb == 'pause' then
  if is_paused then return 0 end
  redis.call('HSET', key, 'paused', '1')
  set_next(name, '', '')
  return 1
end
if is_paused ~= (verb == 'resume') or not is_as_known(name, ARGV[5], ARGV[6]) then return 0 end
redis.call('HDEL', key, 'paused')
set_next(name, ARGV[7], ARGV[8])
return 1
