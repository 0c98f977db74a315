--[[
  doctor_types: compare tokens with waiting jobs, type by type, and the counter of ids with the highest id there is.

  ARGV[3] 1: repair what is wrong   ARGV[4] highest id that was seen, or 0   ARGV[5…] types
  Returns    {ids counter, {waiting jobs, tokens} of each type}, as they were
  Publishes  nothing
]]
--- @include "tokens"
local fix, highest, counts = ARGV[3] == '1', tonumber(ARGV[4]), {}
local last = redis.call('GET', prefix .. ':ids') or '0'
for at = 5, #ARGV do
  local type = ARGV[at]
  counts[#counts + 1] = {redis.call('ZCARD', type_key(type, 'inactive')), redis.call('LLEN', tokens_key(type))}
  if fix then balance_tokens(type) end
end
if fix and (tonumber(last) or 0) < highest then redis.call('SET', prefix .. ':ids', whole(highest)) end
return {last, counts}
