--[[
  restore_tokens: give each waiting job its wake-up token, for types without a worker of this library. A token can be lost with
  the worker that popped it, and Node's workers block on them. Also drops invalid claims of unique jobs.

  ARGV[3] interval, ms: within it, calls after the first do nothing; 0: always run
  Returns    the number of types, or -1 if it was done within the interval
  Publishes  nothing
  Node Kue   Queue#watchStuckJobs (lib/kue.js), without KEYS
]]
--- @include "wake_up_tokens"
--- @include "claims"
local period, clock_key = tonumber(ARGV[3] or '0'), prefix .. ':clock'
if period > 0 then
  local last = number_of(redis.call('HGET', clock_key, 'balanced'))
  if last and last <= now and now - last < period then return -1 end
  redis.call('HSET', clock_key, 'balanced', now_text)
end
sweep_claims(100)
local types = redis.call('SMEMBERS', prefix .. ':job:types')
for _, type in ipairs(types) do
  local waiting, tokens = redis.pcall('ZCARD', type_key(type, 'inactive')), redis.pcall('LLEN', tokens_key(type))
  if not (fault_of(waiting) or fault_of(tokens)) and waiting > tokens then balance_tokens(type) end
end
return #types
