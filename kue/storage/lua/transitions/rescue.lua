--[[
  rescue: active -> inactive, the attempt not counted, for jobs whose lease has expired; or failed if the job is the cause.

  One death proves nothing: the machine may have lost power. A job during which SUSPECT_FROM workers in a row died is a
  suspect: its next worker runs it alone (attempts/isolate.lua). If that one dies too, the job must be the cause.

  ARGV[3] limit
  ARGV[4] worker "kue:host:pid.id", or '': only the jobs of that process, which is known to be dead, regardless of their leases
  ARGV[5] epoch ms after which the call has expired, or 0: if it was delayed (a frozen server, a broken network), nobody
          could renew a lease meanwhile
  ARGV[6…] blind, grace, elapsed   as for watch_clock.lua; blind 0 does not check the clock
  Returns    {id, …} of the rescued jobs
  Publishes  rescue [worker, rescues], then enqueue, or error and failed
]]
--- @include "transitions/fail"
--- @include "clock"
local SUSPECT_FROM = 2   -- as in kue/worker/suspects.py
local limit, dead, valid_until = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local rescued = {}
if valid_until > 0 and now > valid_until then return rescued end
watch_clock(tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases_key, '-inf', dead == '' and now_text or '+inf',
    'LIMIT', 0, dead == '' and limit or -1)) do
  local key = job_key(id)
  local field = redis.call('HMGET', key, 'state', 'token', 'workerId', 'alone')
  if field[1] ~= 'active' then
    redis.call('ZREM', leases_key, id)
  elseif dead == '' or string.sub(field[3] or '', 1, #dead + 1) == dead .. ':' then
    local job = active(id)
    if job and job.is_ours then
      local count = redis.call('HINCRBY', key, 'rescues', 1)
      revoke(id, 'rescued')   -- a worker that wakes up late can no longer write
      local worker = field[3] or ''
      local why = dead == '' and 'its lease expired' or 'its process died'
      local reason = 'Rescued from ' .. worker .. ': ' .. why .. ' (rescue ' .. count .. ')'
      append_log(id, reason)
      publish(id, 'rescue', ',' .. json(worker) .. ',' .. count)
      local deaths = (job.deaths or 0) + 1
      redis.call('HSET', key, 'deaths', whole(deaths))
      redis.call('HDEL', key, 'alone')
      if field[4] and field[4] == field[2] then
        local workers = ''
        for _, entry in ipairs(attempts_of(id)) do
          if entry.outcome == 'rescued' then workers = workers .. tostring(entry.worker) .. ', ' end
        end
        workers = workers .. worker
        local message = 'Failed after ' .. (count - 1) .. ' rescues: its worker process died each time, at last while it ran nothing '
          .. 'else (' .. workers .. ')'
        fail_held(job, {error = message, line = message, message = message, retry = 'never', delay = '', note = ''}, false)
      else
        record_attempt(job, 'rescued', reason)
        if deaths == SUSPECT_FROM then
          append_log(id, 'Suspect: ' .. deaths .. ' worker processes died while they ran it among others; it runs alone next')
        end
        leave(job.zid, job.type, 'active')
        enqueue(id, job.zid, job.type, job.priority)
      end
      rescued[#rescued + 1] = id
    else
      redis.call('ZREM', leases_key, id)   -- no such job, or a Node worker runs it
    end
  end
end
return rescued
