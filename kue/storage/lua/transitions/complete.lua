--[[
  complete: active -> complete (or gone, with removeOnComplete).

  ARGV[3] id   ARGV[4] token   ARGV[5] result (JSON)   ARGV[6] 1 to store the result in the hash
  Returns    1 completed, 0 this attempt was already acknowledged, -1 no such job, -2 the attempt lost its job
  Publishes  complete, and remove with removeOnComplete
  Node Kue   Worker#process, Job#complete (lib/queue/)
]]
--- @include "transitions/complete"
local code = complete(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
write_completed()
return code
