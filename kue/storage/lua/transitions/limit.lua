--[[
  limit: active -> delayed, the attempt not counted, because a service asked its handler to wait. Meanwhile no other job of its
  key starts; without a limit by key, none of its type.

  ARGV[3] id   ARGV[4] token   ARGV[5] reason, for the job's log   ARGV[6] how long, ms
  Returns    1 released, 0 this attempt was already acknowledged, -1 no such job, -2 the attempt lost its job
  Publishes  postpone [reason, promote_at]
]]
--- @include "transitions/hold_back"
return hold_back(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
