--[[
  limit: active -> delayed, the attempt not counted: the service that its handler called wants to be left alone for a while. No
  other job of its key, or of its type if that is not limited by key, starts in that time.

  ARGV[3] id   ARGV[4] token   ARGV[5] reason, for the job's log   ARGV[6] the while, ms
  Returns    1 released, 0 this attempt was acknowledged before, -1 no such job, -2 the attempt lost its job
  Publishes  postpone [reason, promote_at]
]]
--- @include "hold_back"
return hold_back(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
