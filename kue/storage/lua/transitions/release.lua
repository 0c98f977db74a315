--[[
  release: active -> inactive or delayed, the attempt not counted.

  ARGV[3] id   ARGV[4] token   ARGV[5] reason, for the job's log   ARGV[6] delay in ms, 'children': until they have
          ended, or '': inactive
  Returns    1 released, 0 this attempt was already acknowledged, -1 no such job, -2 the attempt lost its job
  Publishes  enqueue, or postpone [reason, promote_at]
]]
--- @include "transitions/release"
return release(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
