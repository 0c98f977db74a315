--[[
  watch_clock: check the server's clock, and adjust leases, deadlines and delays if it has jumped. Then find overdue jobs.

  ARGV[3] blind   ms without a check after which leases may have expired although their workers are alive
  ARGV[4] grace   ms in which every live worker renews its leases
  ARGV[5] elapsed ms since the caller's last check by its own clock, or 0
  ARGV[6] limit   maximum number of overdue jobs to return
  Returns    {the server's epoch ms, {zid, deadline, …} of active jobs past their deadline}
  Publishes  on q:revoked: "* * renew" after a jump, so that workers renew immediately
]]
--- @include "clock"
watch_clock(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
return {tonumber(now_text), redis.call('ZRANGEBYSCORE', state_key('active'), DEADLINES_FROM, now_text, 'WITHSCORES', 'LIMIT', 0,
  tonumber(ARGV[6]))}
