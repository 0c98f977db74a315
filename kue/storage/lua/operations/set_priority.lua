--[[
  set_priority: change a job's priority and nothing else.

  ARGV[3] id   ARGV[4] priority, a number   ARGV[5] its search terms, if it is not in the search index yet, or ''
  Returns    1 changed, -1 no such job
  Publishes  enqueue if it is inactive, as Node when it saves a job
  Node Kue   PUT /job/:id/priority/:level, Job#update (lib/queue/job.js), which writes the whole job from a copy
]]
--- @include "attempts/fencing"
--- @include "search"
local id, priority = ARGV[3], ARGV[4]
local key, zid = job_key(id), zid_of(ARGV[3])
local field = redis.call('HMGET', key, 'type', 'state', 'ttl')
local type, state, ttl = field[1], field[2], field[3]
if not type then return GONE end
redis.call('HSET', key, 'priority', priority, 'updated_at', now_text)
redis.call('ZADD', all_key, priority, zid)
if not state then return OK end
redis.call('ZADD', type_key(type, state), 'XX', priority, zid)
if state == 'active' then   -- with a ttl the score is the deadline: Node restarts it; for our attempts it stays
  if not (tonumber(ttl or '') and is_leased(id)) then
    redis.call('ZADD', state_key(state), 'XX', active_score(priority, ttl), zid)
  end
elseif state == 'delayed' then
  local key_name = redis.call('HGET', key, 'limit_key')
  if key_name then fault_of(redis.pcall('ZADD', line_key(type, key_name), 'XX', priority, zid)) end
else
  redis.call('ZADD', state_key(state), 'XX', priority, zid)
end
if ARGV[5] ~= '' and not is_indexed(id) then index(id, ARGV[5]) end
if state == 'inactive' then   -- with one more wake-up token, as Node
  redis.call('LPUSH', tokens_key(type), '1')
  publish(id, 'enqueue', ',' .. json(type))
end
return OK
