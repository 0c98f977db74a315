--[[
  run_schedule: - -> inactive or delayed, for one more job of a schedule, now, regardless of its times.

  ARGV[3] lane   unique to this call, so that a repeated call returns the job that the first one created
  ARGV[4] name   of the schedule
  ARGV[5] 1
  ARGV[6…]       the job, as for create.lua
  Returns    its id, or -1 no such schedule
  Publishes  enqueue if the job waits
  Hash       of the job: schedule, and occurrence: now
]]
--- @include "transitions/create"
--- @include "schedules"
local name = ARGV[4]
if redis.call('HEXISTS', schedule_key(name), 'definition') == 0 then return -1 end
local was_made = redis.call('EXISTS', ARGV[3]) == 1
local id = create()
if was_made then return id end
redis.call('HSET', job_key(whole(id)), 'schedule', name, 'occurrence', now_text)
redis.call('HSET', schedule_key(name), 'last_job', whole(id))
record_run(name, now_text, '0', 'h' .. whole(id))
return id
