--[[
  fail: active -> inactive, delayed or failed.

  ARGV[3] id   ARGV[4] token   ARGV[5] error   ARGV[6] log line   ARGV[7] message
  ARGV[8] retry: now, wait or never   ARGV[9] delay in ms, or ''   ARGV[10] note for the log, or ''
  ARGV[11] 1: the child process that ran it died
  Returns    1 failed, 0 this attempt was already acknowledged, -1 no such job, -2 the attempt lost its job
  Publishes  error, then enqueue and failed attempt, or failed attempt, or failed
  Node Kue   Worker#failed, Job#failedAttempt (lib/queue/)
]]
--- @include "transitions/fail"
return fail(ARGV[3], ARGV[4], {
  error = ARGV[5], line = ARGV[6], message = ARGV[7], retry = ARGV[8], delay = ARGV[9], note = ARGV[10],
  crashed = ARGV[11],
})
