--[[
  wake: end the wait of a worker process, which blocks on a list of its own besides the tokens. An element stays until it is
  taken, so it cannot come too early; it goes by itself with a process that died.

  ARGV[3] worker   ARGV[4] seconds until it goes
  Returns    1
  Publishes  nothing
]]
--- @include "common"
local key = prefix .. ':wake:' .. ARGV[3]
if redis.call('EXISTS', key) == 0 then redis.call('LPUSH', key, '1') end
redis.call('EXPIRE', key, ARGV[4])
return 1
