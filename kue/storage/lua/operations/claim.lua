--[[
  claim: make a saved job unique, unless another job has the claim.

  ARGV[3] id   ARGV[4] the claim, as for create_unique.lua
  Returns    1 claimed, 0 another job has it, -1 no such job
  Publishes  nothing
]]
--- @include "claims"
local id, claim = ARGV[3], cjson.decode(ARGV[4])
local data = redis.call('HGET', job_key(id), 'data')
if not data then return -1 end
if claimed_by(claim.entry) then return 0 end
sweep_claims(4)
set_claim(id, claim, data)
return 1
