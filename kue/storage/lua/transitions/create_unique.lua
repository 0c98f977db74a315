--[[
  create_unique: - -> inactive or delayed, unless a job with the same claim waits or runs.

  A claim is a type and one member of the data. It lies in the set q:unique with the id of the job that made it, and is
  void once that job has ended, is gone, or has other data. Only jobs that were made by this script or have a claim by
  claim.lua are seen, so that a call costs the same whatever the length of the queue. Each drops some void claims (see
  also balance.lua).

  ARGV[3] ''   ARGV[4] the member, compact JSON without braces: "url":"https://…"
  ARGV[5] 1
  ARGV[6…]     one job, as for create.lua, whose ARGV[3] is a lane: none is needed, since a repeated call finds the job
               that the first one made
  Returns    {id, 1} created, {id, 0} this job was there already
  Publishes  enqueue if a job was made that waits
]]
--- @include "create"
--- @include "claims"
local SWEPT = 4
local text, job_type = ARGV[4], ARGV[6]
local entry = job_type .. ' ' .. text

local claimed = claimed_by(entry, text)
if claimed then return {tonumber(claimed), 0} end

local id = create()
sweep_claims(SWEPT)
redis.call('ZADD', claims_key, id, entry)
return {id, 1}
