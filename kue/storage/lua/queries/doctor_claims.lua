--[[
  doctor_claims: count claims of unique jobs whose job was removed; drop them on request.

  ARGV[3] 1: drop them
  ARGV[4…] members of q:unique
  Returns    their number
]]
--- @include "claims"
local count = 0
for at = 4, #ARGV do
  local entry = ARGV[at]
  local score = redis.call('ZSCORE', claims_key(), entry)
  if score and redis.call('HGET', job_key(whole(tonumber(score))), 'unique') ~= entry and not claimed_by(entry) then
    count = count + 1
    if ARGV[3] == '1' then
      redis.call('ZREM', claims_key(), entry)
      redis.call('ZREM', outliving_key(), entry)
    end
  end
end
return count
