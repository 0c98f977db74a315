--[[
  timeout: an active job past its ttl fails with "TTL exceeded".

  ARGV[3] id   ARGV[4] deadline: the score in q:jobs:active that the caller read   ARGV[5] attempts made, as read
  ARGV[6] retry: now, wait or never   ARGV[7] delay in ms, or ''   ARGV[8] note for the log, or ''
  ARGV[9…] blind, grace, elapsed   as for watch_clock.lua; blind 0 does not check the clock
  Returns    1 timed out, 0 not yet (the deadline moved), -1 no such job, -2 not active, or another attempt now
  Publishes  ttl exceeded, error, ttl exceeded ack (for Node's watcher), then as fail; for a Node worker's job neither of
             the two, since that worker would fail it again
  Node Kue   Queue#watchStuckJobs' sibling checkActiveJobTtl (lib/kue.js)
]]
--- @include "transitions/fail"
--- @include "clock"
local NODE_GRACE_MS = 5000
local id, deadline, attempts = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
watch_clock(tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]))
local job, code = active(id)
if not job then return code end
local score = tonumber(redis.call('ZSCORE', state_key('active'), job.zid) or '0')
if score ~= deadline or deadline > now then return DONE end
if job.attempts ~= attempts then return LOST end
local foreign = not is_leased(id)   -- a Node worker holds it: Node's own watcher goes first, and needs 1 to 3 s
if foreign then
  if deadline + NODE_GRACE_MS > now then return DONE end
else
  publish(id, 'ttl exceeded', '')
end
revoke(id, 'timeout')
fail_held(job, {
  error = 'TTL exceeded', line = 'TTL exceeded', message = 'TTL exceeded', retry = ARGV[6], delay = ARGV[7], note = ARGV[8],
}, not foreign)
return OK
