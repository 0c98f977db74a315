--[[
  update: save an existing job's data and options; its state stays.

  ARGV[3] id   ARGV[4] its search terms, as in include/search.lua, or '' to leave the search index alone
  ARGV[5] 1 if they have changed; otherwise an indexed job's entries stay (only its producer knows its search keys)
  ARGV[6…] field, value, … to write; a value '' removes the field. A new delay (ms, or "@" and the epoch ms) counts
          from the creation, or from the last failure, as in Node
  Returns    1 saved, -1 no such job, -3 its type differs from the one to write
  Publishes  enqueue if it is inactive, as Node
  Node Kue   Job#update (lib/queue/job.js)
]]
--- @include "search"
--- @include "flows/parents"
local id = ARGV[3]
local key, zid = job_key(id), zid_of(ARGV[3])
local saved_type = redis.call('HGET', key, 'type')
if not saved_type then return -1 end
if ARGV[6] == 'type' and ARGV[7] ~= saved_type then return -3 end   -- it would stay in the old type's sets
local promoted = redis.call('HGET', key, 'promote_at')
local waits = promoted == HOLD_UNTIL_MS or promoted == WAIT_UNTIL_MS   -- suspended, or waiting for children
for at = 6, #ARGV, 2 do
  local name, value = ARGV[at], ARGV[at + 1]
  if name == 'delay' and value ~= '' and value ~= redis.call('HGET', key, 'delay') then
    local times = redis.call('HMGET', key, 'failed_at', 'created_at')
    local since = tonumber(times[1] or times[2] or now)
    redis.call('HDEL', key, 'due_at')
    if string.sub(value, 1, 1) == '@' then
      local date = tonumber(string.sub(value, 2))
      value = whole(math.max(0, date - since))
      redis.call('HSET', key, 'due_at', whole(date))
    end
    if not waits then redis.call('HSET', key, 'promote_at', whole(since + tonumber(value))) end
  end
  if value == '' then
    redis.call('HDEL', key, name)
  else
    redis.call('HSET', key, name, value)
  end
end
redis.call('HSET', key, 'updated_at', now_text)
if ARGV[4] ~= '' and (ARGV[5] == '1' or not is_indexed(id)) then
  unindex(id)
  index(id, ARGV[4])
end
local field = redis.call('HMGET', key, 'type', 'state', 'priority', 'ttl', 'promote_at')
local type, state, priority = field[1], field[2], field[3] or '0'
redis.call('ZADD', all_key, priority, zid)
if state == 'delayed' and field[5] == ASIDE_UNTIL_MS then   -- set aside anew: its data may have another key
  leave(zid, type, state)
  redis.call('HSET', key, 'promote_at', now_text)
  enqueue(id, zid, type, priority)
elseif state then
  place(id, zid, type, state, priority, field[4], field[5])
end
return 1
