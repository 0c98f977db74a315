--- @include "search"
--- @include "gather"
-- Create the jobs that ARGV tells of from its third value on, as create.lua says; return the id of the first.
local LANE_S = 600

local function create()
  local call, format, jobs = redis.call, string.format, prefix .. ':job:'
  local lane, mark, count = ARGV[3], ARGV[4], tonumber(ARGV[5])

  if lane ~= '' then
    local last = call('GET', lane)
    if last then
      local last_mark, first = string.match(last, '^(.-):(%d+)$')
      if last_mark == mark then return tonumber(first) end
    end
  end
  if count == 0 then
    call('SET', lane, mark .. ':0', 'EX', LANE_S)
    return 0
  end

  local first = call('INCRBY', prefix .. ':ids', count) - count + 1
  local adds, tokens, ready, events = {}, {}, {}, {}

  for n = 0, count - 1 do
    local at = 6 + n * 8
    local type, priority, delay = ARGV[at], ARGV[at + 2], ARGV[at + 4]
    local id = format('%.0f', first + n)
    local zid, promote_at, state, score = format('%02d|%s', #id, id), now_text, 'inactive', priority
    if delay ~= '' and string.sub(delay, 1, 1) == '@' then
      local due = math.max(now, tonumber(string.sub(delay, 2)))
      delay, promote_at = due > now and whole(due - now) or '', whole(due)
    elseif delay ~= '' then
      promote_at = whole(now + math.floor(tonumber(delay)))   -- Node's delays may have fractions
    end
    if delay ~= '' then state, score = 'delayed', promote_at end

    local hash, size = {'type', type, 'data', ARGV[at + 1], 'priority', priority, 'state', state,
      'created_at', now_text, 'promote_at', promote_at, 'updated_at', now_text}, 14
    local attempts, ttl, backoff, remove = ARGV[at + 3], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
    if attempts ~= '' then hash[size + 1], hash[size + 2], size = 'max_attempts', attempts, size + 2 end
    if delay ~= '' then hash[size + 1], hash[size + 2], size = 'delay', delay, size + 2 end
    if ttl ~= '' then hash[size + 1], hash[size + 2], size = 'ttl', ttl, size + 2 end
    if backoff ~= '' then hash[size + 1], hash[size + 2], size = 'backoff', backoff, size + 2 end
    if remove ~= '' then hash[size + 1], hash[size + 2], size = 'removeOnComplete', remove, size + 2 end
    call('HSET', jobs .. id, unpack(hash))

    gather(adds, all_key, priority, zid)
    gather(adds, state_key(state), score, zid)
    gather(adds, type_key(type, state), priority, zid)
    if not events[type] then
      events[type] = ',"event":"enqueue","args":["enqueue",' .. json(type) .. ']}'
      call('SADD', prefix .. ':job:types', type)
    end
    if state == 'inactive' then
      gather(tokens, tokens_key(type), '1')
      ready[#ready + 1] = '{"id":' .. id .. events[type]
    end
  end

  write_out('ZADD', adds)
  write_out('LPUSH', tokens)
  if lane ~= '' then call('SET', lane, mark .. ':' .. whole(first), 'EX', LANE_S) end
  for _, event in ipairs(ready) do call('PUBLISH', channel, event) end
  for at = 6 + count * 8, #ARGV do
    if ARGV[at] ~= '' then index(whole(first + at - 6 - count * 8), ARGV[at]) end
  end
  return first
end
