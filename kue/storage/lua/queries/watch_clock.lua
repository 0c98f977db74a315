--[[
  watch_clock: look at the server's clock, and keep what was promised by time if it has jumped.

  ARGV[3] blind   ms without a look after which leases may have expired through no fault of their workers
  ARGV[4] grace   ms in which every living worker renews its leases
  ARGV[5] elapsed ms since the caller's last look by its own clock, or 0
  Returns    the server's epoch ms
  Publishes  on q:revoked: "* * renew" after a jump, so that workers renew at once
]]
--- @include "clock"
watch_clock(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
return tonumber(now_text)
