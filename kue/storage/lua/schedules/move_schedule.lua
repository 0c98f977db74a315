--[[
  move_schedule: pause or resume a schedule, set its next time after the clock was set back, or rewrite its entry for the
  doctor.

  ARGV[3] name     ARGV[4] pause, resume, move or repair
  ARGV[5] sha      digest of its definition as read   ARGV[6] its next time as read, '' for none
  ARGV[7] following, ARGV[8] when that is due; '' if there is none
  Returns    1 done, 0 it was already paused (resumed, moved) or has changed since it was read, -1 no such schedule
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
if verb ~= 'repair' and is_paused ~= (verb == 'resume') then return 0 end
if not is_as_known(name, ARGV[5], ARGV[6]) then return 0 end
if verb == 'resume' then redis.call('HDEL', key, 'paused') end
set_next(name, ARGV[7], ARGV[8])
return 1
