--[[
  create: - -> inactive or delayed, for one job or many.

  ARGV[3] lane    the producer's lane key, or '': it remembers the last call for LANE_S seconds
  ARGV[4] sequence    number of this call on the lane; a repeated one creates nothing and returns the first call's result
  ARGV[5] count   number of jobs; 0 asks for the result of the sequence, and blocks its later use; then for each job 8 values:
          type, data (JSON), priority, max_attempts, delay (ms, or "@" and the epoch ms), ttl, backoff, removeOnComplete
          (or instead a JSON list of fields and values, such as those of a trace); '' omits the field
  then, with search, for each job its search terms, as in include/search.lua, or ''
  A job of a type with a limit by key is set aside, as delayed: see include/limits/aside.lua.
  Returns    the id of the first job, the others have the next ids; 0 for a count of 0 if the sequence created none
  Publishes  enqueue for each job that waits (not for a delayed one, as Node)
  Node Kue   Job#save, Job#update, Job#state (lib/queue/job.js)
]]
--- @include "transitions/lane"
-- Fast path for the most common call, one waiting job without further options: merely defining the functions below costs as
-- much as this whole path. All other calls continue below.
if #ARGV == 13 and ARGV[5] == '1' and ARGV[9] ~= '' and table.concat(ARGV, '', 10) == ''
  and string.find(ARGV[6], '^[%w_%-]+$') then
  local call, prefix, now, lane, sequence, type, priority = redis.call, ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[8]
  local last = lane ~= '' and call('GET', lane)
  local is_limited = redis.pcall('HEXISTS', prefix .. ':limits', type) == 1
  local has_webhooks = call('EXISTS', prefix .. ':webhooks:events') == 1
  if not is_limited and not has_webhooks and (not last or string.sub(last, 1, #sequence + 1) ~= sequence .. ':') then
    if now == '0' then
      local time = call('TIME')
      now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    end
    local first = call('INCR', prefix .. ':ids')
    local id = string.format('%.0f', first)
    local zid, sets = string.format('%02d|%s', #id, id), prefix .. ':jobs'
    call('HSET', prefix .. ':job:' .. id, 'type', type, 'data', ARGV[7], 'priority', priority, 'state', 'inactive',
      'created_at', now, 'promote_at', now, 'updated_at', now, 'max_attempts', ARGV[9])
    call('ZADD', sets, priority, zid)
    call('ZADD', sets .. ':inactive', priority, zid)
    call('ZADD', sets .. ':' .. type .. ':inactive', priority, zid)
    call('SADD', prefix .. ':job:types', type)
    call('LPUSH', prefix .. ':' .. type .. ':jobs', '1')
    if lane ~= '' then call('SET', lane, sequence .. ':' .. id, 'EX', LANE_S) end
    call('PUBLISH', prefix .. ':events', '{"id":' .. id .. ',"event":"enqueue","args":["enqueue","' .. type .. '"]}')
    return first
  end
end
--- @include "transitions/create"
return create()
