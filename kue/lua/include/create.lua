--- @include "search"
-- Create the jobs that ARGV tells of from its third value on, as create.lua says; return the id of the first.
local LANE_S = 600

local function create()
  local lane, mark, count = ARGV[3], ARGV[4], tonumber(ARGV[5])

  if lane ~= '' then
    local last = redis.call('GET', lane)
    if last then
      local last_mark, first = string.match(last, '^(.-):(%d+)$')
      if last_mark == mark then return tonumber(first) end
    end
  end
  if count == 0 then
    redis.call('SET', lane, mark .. ':0', 'EX', LANE_S)
    return 0
  end

  local first = redis.call('INCRBY', prefix .. ':ids', count) - count + 1
  local adds, known, ready = {}, {}, {}
  local function add(key, score, zid)
    local list = adds[key]
    if not list then list = {}; adds[key] = list end
    list[#list + 1] = score
    list[#list + 1] = zid
  end

  for n = 0, count - 1 do
    local at = 6 + n * 8
    local type, priority, delay = ARGV[at], ARGV[at + 2], ARGV[at + 4]
    local id = whole(first + n)
    local zid, promote_at, state = zid_of(id), now, 'inactive'
    if string.sub(delay, 1, 1) == '@' then
      promote_at = math.max(now, tonumber(string.sub(delay, 2)))
      delay = promote_at > now and whole(promote_at - now) or ''
    elseif delay ~= '' then
      promote_at = now + math.floor(tonumber(delay))   -- Node's delays may have fractions
    end
    if delay ~= '' then state = 'delayed' end

    local hash = {'type', type, 'data', ARGV[at + 1], 'priority', priority, 'state', state,
      'created_at', now_text, 'promote_at', whole(promote_at), 'updated_at', now_text}
    local function optional(field, value)
      if value ~= '' then hash[#hash + 1] = field; hash[#hash + 1] = value end
    end
    optional('max_attempts', ARGV[at + 3])
    optional('delay', delay)
    optional('ttl', ARGV[at + 5])
    optional('backoff', ARGV[at + 6])
    optional('removeOnComplete', ARGV[at + 7])
    redis.call('HSET', job_key(id), unpack(hash))

    add(all_key, priority, zid)
    add(state_key(state), state == 'delayed' and whole(promote_at) or priority, zid)
    add(type_key(type, state), priority, zid)
    known[type] = true
    if state == 'inactive' then ready[#ready + 1] = {id, type} end
  end

  for type in pairs(known) do redis.call('SADD', prefix .. ':job:types', type) end
  for key, list in pairs(adds) do redis.call('ZADD', key, unpack(list)) end
  for _, job in ipairs(ready) do redis.call('LPUSH', tokens_key(job[2]), '1') end
  if lane ~= '' then redis.call('SET', lane, mark .. ':' .. whole(first), 'EX', LANE_S) end
  for _, job in ipairs(ready) do publish(job[1], 'enqueue', ',' .. json(job[2])) end
  for at = 6 + count * 8, #ARGV do
    if ARGV[at] ~= '' then index(whole(first + at - 6 - count * 8), ARGV[at]) end
  end
  return first
end
