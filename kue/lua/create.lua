--[[
  create: - -> inactive or delayed, for one job or many.

  ARGV[3] lane    the producer's lane key, or '': its last call is remembered there for LANE_S seconds
  ARGV[4] mark    number of this call on the lane; a repeated mark creates nothing and answers as the first call did
  ARGV[5] count   jobs; 0 asks what became of the mark, and lets nobody use it any more; then for each job 8 values:
          type, data (JSON), priority, max_attempts, delay (ms, or "@" and the epoch ms), ttl, backoff, removeOnComplete;
          '' leaves the field out
  then, with search, for each job what it is found by, as in include/search.lua, or '' for nothing
  Returns    the id of the first job; the others follow it one by one; 0 with a count of 0 if the mark made none
  Publishes  enqueue for each job that waits (not for a delayed one, as Node)
  Node Kue   Job#save, Job#update, Job#state (lib/queue/job.js)
]]
--- @include "create"
return create()
