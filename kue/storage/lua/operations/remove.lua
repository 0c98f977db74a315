--[[
  remove: take a job and all that belongs to it away, in whatever state it is. A worker that holds it can write nothing
  more, so a removed job never comes back.

  ARGV[3] id   ARGV[4] 1: only tidy up after a job that is not there
  Returns    1 removed, -1 no such job (its leavings in the sets are cleared away all the same, as Node does)
  Publishes  remove
  Node Kue   Job#remove (lib/queue/job.js)
]]
--- @include "flows"
local id, tidy = ARGV[3], ARGV[4] == '1'
local field = redis.call('HMGET', job_key(id), 'type', 'state')
if tidy and field[1] then return 1 end
local parents = redis.call('HGET', job_key(id), 'parents')
erase(id, zid_of(id), field[1], field[1] and field[2])
if not field[1] then return -1 end
publish(id, 'remove', ',' .. json(field[1]))
settle(id, 'removed', '', parents or '')
return 1
