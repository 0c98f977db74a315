--[[
  balance: give each waiting job its token, for types that no worker of this library asks for: a token can be lost with the
  worker that took it, and Node's workers block on them. Void claims of unique jobs are dropped by the way.

  Returns    the number of types
  Publishes  nothing
  Node Kue   Queue#watchStuckJobs (lib/kue.js), without KEYS
]]
--- @include "tokens"
--- @include "claims"
sweep_claims(100)
local types = redis.call('SMEMBERS', prefix .. ':job:types')
for _, type in ipairs(types) do
  local waiting, tokens = redis.pcall('ZCARD', type_key(type, 'inactive')), redis.pcall('LLEN', tokens_key(type))
  if not (fault_of(waiting) or fault_of(tokens)) and waiting > tokens then balance_tokens(type) end
end
return #types
