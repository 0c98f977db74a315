--[[
  fire_schedule: - -> inactive or delayed: the job of one occurrence of a schedule, and on to the next occurrence.

  A call changes nothing unless the schedule is as its caller read it, so of several processes one fires, and a call that is
  repeated since its answer was lost does no harm.

  ARGV[3] ''   ARGV[4] JSON, all of it text:
    name, sha   the schedule, and the digest of its definition
    next_at     its next occurrence, as read
    fires       the occurrence to create a job for; '' if what is due was missed and is skipped
    due         when that one was due
    overlap     skip, allow or replace
    until, hole what has been handled then, as in times.py
    following, following_due  the occurrence after it and when that is due; '' if there is none
    limit       jobs in all, or ''
  ARGV[5] 1
  ARGV[6…]     the job, as for create.lua
  Returns    {1, id} created, {2} left out since the last job has not ended, {3} skipped, {4, error} Redis refused the job,
             as where its type's set is a key of another kind; {0} nothing was to be done
  Publishes  enqueue if a job was made that waits; cancel, error and failed for one that is replaced
  Hash       of the job: schedule, occurrence
]]
-- Several processes call this at once, and all but the first come too late: for them nothing else is defined, since each
-- call defines the functions below anew.
local asked = cjson.decode(ARGV[4])
if redis.call('HGET', ARGV[1] .. ':schedule:' .. asked.name, 'next_at') ~= asked.next_at then return {0} end
--- @include "create"
--- @include "cancel"
--- @include "schedules"
local name, key = asked.name, schedule_key(asked.name)
local due = tonumber(redis.call('ZSCORE', schedules_key, name) or '')
if not due or due > now or not is_as_known(name, asked.sha, asked.next_at) then return {0} end

local last = redis.call('HGET', key, 'last_job')
local running = last and redis.call('HMGET', job_key(last), 'schedule', 'state')
if running and (running[1] ~= name or not running[2] or running[2] == 'complete' or running[2] == 'failed') then
  running = nil
end

local answer, following = {3}, asked.following
if asked.fires ~= '' and running and asked.overlap == 'skip' then
  redis.call('HINCRBY', key, 'skipped', 1)
  answer = {2}
elseif asked.fires ~= '' then
  local created, id = pcall(create)   -- it must not be tried for ever: the schedule moves on in any case
  if created then
    id = whole(id)
    redis.call('HSET', job_key(id), 'schedule', name, 'occurrence', asked.fires)
    if running and asked.overlap == 'replace' then
      append_log(last, 'Replaced by job ' .. id .. ', the next of schedule ' .. name)
      cancel(last, 'cancelled')
    end
    redis.call('HSET', key, 'last_job', id)
    local count = redis.call('HINCRBY', key, 'count', 1)
    if asked.limit ~= '' and count >= tonumber(asked.limit) then following = '' end
    answer = {1, id}
  else
    answer = {4, type(id) == 'table' and id.err or tostring(id)}
  end
end
if asked.fires ~= '' then
  local late = whole(math.max(0, now - tonumber(asked.due)))
  redis.call('HSET', key, 'last_at', asked.fires, 'fired_at', now_text, 'late_ms', late)
  record_run(name, asked.fires, late, answer[1] == 1 and answer[2] or '')
end
redis.call('HSET', key, 'until', asked['until'], 'hole', asked.hole)
set_next(name, following, asked.following_due)
return answer
