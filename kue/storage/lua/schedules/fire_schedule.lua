--[[
  fire_schedule: - -> inactive or delayed, for the job of one occurrence of a schedule; sets the next occurrence.

  A call changes nothing unless the schedule is as its caller read it: of several processes one fires, and repeating a call
  after a lost reply does no harm.

  ARGV[3] ''   ARGV[4] JSON with strings only:
    name, sha   the schedule, and the digest of its definition
    next_at     its next occurrence, as read
    fires       the occurrence to create a job for; '' if the due ones were missed and are skipped
    due         when it was due
    overlap     skip, allow or replace
    until, hole what has been handled afterwards, as in times.py
    following, following_due  the next occurrence and when it is due; '' if there is none
    limit       total number of jobs, or ''
  ARGV[5] 1
  ARGV[6…]     the job, as for create.lua
  Returns    {1, id} created, {2} skipped because the last job has not ended, {3} skipped as missed, {4, error} Redis refused
             the job, for example because its type's set is a key of another type; {0} nothing to do
  Publishes  enqueue if a waiting job was created; cancel, error and failed for one that is replaced
  Hash       of the job: schedule, occurrence
]]
-- Several processes call this at the same time, and all but the first are too late. Return early for them: merely defining
-- the functions below is expensive.
local asked = cjson.decode(ARGV[4])
if redis.call('HGET', ARGV[1] .. ':schedule:' .. asked.name, 'next_at') ~= asked.next_at then return {0} end
--- @include "transitions/create"
--- @include "transitions/cancel"
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
  local created, id = pcall(create)   -- not retried forever: the schedule continues in any case
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
