--[[
  wake: wake up a worker process, which blocks on a list of its own besides the wake-up tokens. An element stays until the
  worker pops it, so it is never too early, and expires if the process has died.

  ARGV[3] worker   ARGV[4] seconds until it expires
  Returns    1
  Publishes  nothing
]]
--- @include "common"
local key = prefix .. ':wake:' .. ARGV[3]
if redis.call('EXISTS', key) == 0 then redis.call('LPUSH', key, '1') end
redis.call('EXPIRE', key, ARGV[4])
return 1
