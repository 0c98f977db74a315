--[[
  doctor_types: compare wake-up tokens with waiting jobs, by type, and the id counter with the highest existing id.

  ARGV[3] 1: repair   ARGV[4] highest id seen, or 0   ARGV[5…] types
  Returns    {id counter, {waiting jobs, tokens} of each type}, before the repair
  Publishes  nothing
]]
--- @include "wake_up_tokens"
local fix, highest, counts = ARGV[3] == '1', tonumber(ARGV[4]), {}
local last = redis.call('GET', prefix .. ':ids') or '0'
for at = 5, #ARGV do
  local type = ARGV[at]
  counts[#counts + 1] = {redis.call('ZCARD', type_key(type, 'inactive')), redis.call('LLEN', tokens_key(type))}
  if fix then balance_tokens(type) end
end
if fix and (tonumber(last) or 0) < highest then redis.call('SET', prefix .. ':ids', whole(highest)) end
return {last, counts}
