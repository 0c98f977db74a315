--[[
  suspend: inactive, delayed or active -> delayed, without a time at which it would go on: somebody has to promote it. A worker
  that holds the job loses it and is told; the attempt is not counted.

  ARGV[3] id   ARGV[4] HOLD_UNTIL_MS of states.py, the time by which a held job is known
  Returns    {1, state it was in}, {-1} no such job, {-3, state} it had ended already
  Publishes  postpone ["Paused", time]
]]
--- @include "sets"
local id, until_ms = ARGV[3], ARGV[4]
local key, zid = job_key(id), zid_of(ARGV[3])
local field = redis.call('HMGET', key, 'type', 'state', 'priority', 'promote_at')
local type, state, priority = field[1], field[2], field[3] or '0'
if not type then return {-1} end
if state == 'complete' or state == 'failed' then return {-3, state} end
if state == 'delayed' and field[4] == until_ms then return {1, state} end
if state then leave(zid, type, state) end
revoke(id, 'paused')
append_log(id, 'Paused')
redis.call('HSET', key, 'promote_at', until_ms)
enter(id, zid, type, 'delayed', priority, until_ms)
publish(id, 'postpone', ',"Paused",' .. until_ms)
return {1, state or ''}
