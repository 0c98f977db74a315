--- @include "search"
--- @include "flows/parents"
--- @include "batch_args"
--- @include "transitions/lane"
--- @include "limits/admission"
-- Create the jobs described in ARGV from its third value on, as in create.lua; return the first one's id.
-- For a flow: `waits`, by number, which of them wait for children; `found_by`, where their search terms begin.

-- For each type: the members of its sets, its wake-up tokens, and the end of its events.
local function new_kind(type)
  redis.call('SADD', prefix .. ':job:types', type)
  local limits = limits_of(type)
  return {inactive = {n = 0}, delayed = {n = 0}, tokens = {n = 0}, by_key = limits and limits.key, aside = {},
    event = ',"event":"enqueue","args":["enqueue",' .. json(type) .. ']}'}
end

-- Add a job's last value to the fields and values of its hash.
local function set_last(fields, value)
  if string.sub(value, 1, 1) == '[' then
    for _, each in ipairs(cjson.decode(value)) do add(fields, each) end
  elseif value ~= '' then
    add(fields, 'removeOnComplete', value)
  end
end

local function create(waits, found_by)
  local call, format, jobs = redis.call, string.format, prefix .. ':job:'
  local lane, sequence, count = ARGV[3], ARGV[4], tonumber(ARGV[5])

  if lane ~= '' then
    local last = call('GET', lane)
    if last then
      local last_sequence, first = string.match(last, '^(.-):(%d+)$')
      if last_sequence == sequence then return tonumber(first) end
    end
  end
  if count == 0 then
    call('SET', lane, sequence .. ':0', 'EX', LANE_S)
    return 0
  end

  local first = call('INCRBY', prefix .. ':ids', count) - count + 1
  local all, states, kinds, events = {n = 0}, {inactive = {n = 0}, delayed = {n = 0}}, {}, {n = 0}

  for n = 0, count - 1 do
    local at = 6 + n * 8
    local type, data, priority, attempts, delay, ttl, backoff, remove = unpack(ARGV, at, at + 7)
    local id = format('%.0f', first + n)
    local zid, promote_at, state, score = format('%02d|%s', #id, id), now_text, 'inactive', priority
    local due_at
    if delay ~= '' and string.sub(delay, 1, 1) == '@' then
      local due = math.max(now, tonumber(string.sub(delay, 2)))
      delay, promote_at = due > now and whole(due - now) or '', whole(due)
      due_at = promote_at   -- a date: it does not move when the clock is set
    elseif delay ~= '' then
      promote_at = whole(now + math.floor(tonumber(delay)))   -- Node's delays may have fractions
    end
    if delay ~= '' then state, score = 'delayed', promote_at end
    local kind = kinds[type]
    if not kind then kind = new_kind(type); kinds[type] = kind end
    local is_waiting, key_name = state == 'inactive' and not (waits and waits[n]), nil
    if waits and waits[n] then
      state, promote_at, score = 'delayed', WAIT_UNTIL_MS, WAIT_UNTIL_MS
    elseif is_waiting and kind.by_key then
      key_name = key_from(kind.by_key, data)
      kind.aside[#kind.aside + 1] = {zid, priority, key_name}
      state, score, promote_at = 'delayed', ASIDE_UNTIL_MS, ASIDE_UNTIL_MS
    end

    local key, more = jobs .. id, {n = 0}
    call('HSET', key, 'type', type, 'data', data, 'priority', priority, 'state', state, 'created_at', now_text,
      'promote_at', promote_at, 'updated_at', now_text, 'max_attempts', attempts)
    if attempts == '' then call('HDEL', key, 'max_attempts') end
    if delay ~= '' then add(more, 'delay', delay) end
    if delay ~= '' and due_at then add(more, 'due_at', due_at) end
    if ttl ~= '' then add(more, 'ttl', ttl) end
    if backoff ~= '' then add(more, 'backoff', backoff) end
    set_last(more, remove)
    if key_name then add(more, 'limit_key', key_name) end
    send('HSET', key, more)

    add(all, priority, zid)
    add(states[state], score, zid)
    add(kind[state], priority, zid)
    if is_waiting then
      add(kind.tokens, '1')
      add(events, '{"id":' .. id .. kind.event)
    end
  end

  send('ZADD', all_key, all)
  for state, members in pairs(states) do send('ZADD', state_key(state), members) end
  for type, kind in pairs(kinds) do
    send('ZADD', type_key(type, 'inactive'), kind.inactive)
    send('ZADD', type_key(type, 'delayed'), kind.delayed)
    send('LPUSH', tokens_key(type), kind.tokens)
    if #kind.aside > 0 then note_aside(type, kind.aside) end
  end
  if lane ~= '' then call('SET', lane, sequence .. ':' .. whole(first), 'EX', LANE_S) end
  for n = 1, events.n do call('PUBLISH', channel, events[n]) end
  if events.n > 0 and wanted_events == nil then read_wanted_events() end
  if events.n > 0 and wanted_events and wants_event('enqueue') then
    for n = 1, events.n do
      local id, type = string.match(events[n], '^{"id":(%d+),.*%["enqueue",(.*)%]}$')
      note_event(id, 'enqueue', ',' .. type)
    end
  end
  found_by = found_by or 6 + count * 8
  for at = found_by, math.min(#ARGV, found_by + count - 1) do
    if ARGV[at] ~= '' then index(whole(first + at - found_by), ARGV[at]) end
  end
  return first
end
