--[[
  claim: let create_unique find a job that was made without it, unless another one holds the claim.

  ARGV[3] id   ARGV[4] the member of its data, as for create_unique.lua
  Returns    1 claimed, 0 another job has it, -1 no such job
  Publishes  nothing
]]
--- @include "claims"
local id, text = ARGV[3], ARGV[4]
local job_type = redis.call('HGET', job_key(id), 'type')
if not job_type then return -1 end
local entry = job_type .. ' ' .. text
if claimed_by(entry, text) then return 0 end
sweep_claims(4)
redis.call('ZADD', claims_key, id, entry)
return 1
