--[[
  save_webhook: write, change or remove a webhook, and update which events are put into the outbox.

  ARGV[3] name   ARGV[4] verb: save, enable, disable, remove, or repair: put it into the
           list again; '' only updates q:webhooks:events
  ARGV[5…] field, value, … to write, for save and disable; a value '' removes the field. For save, a field
           "new_secret" replaces the secret, and the previous one stays valid for a day; "first_secret" is used only if
           there is none.
  Returns    1 done, 0 there was nothing to do, -1 no such webhook
  Publishes  nothing
]]
--- @include "common"
local name, verb = ARGV[3], ARGV[4]
local names, key = prefix .. ':webhooks', prefix .. ':webhook:' .. name
local exists = redis.call('SISMEMBER', names, name) == 1
if not exists and verb ~= 'save' and verb ~= 'repair' then return -1 end

local done = 1
if verb == 'remove' then
  redis.call('SREM', names, name)
  redis.call('DEL', key, key .. ':deliveries')
elseif verb == 'repair' then
  if name ~= '' then redis.call('SADD', names, name) end
elseif verb == 'enable' then
  done = redis.call('HDEL', key, 'disabled_at', 'disabled_why', 'failing_since') > 0 and 1 or 0
else
  if verb == 'disable' and redis.call('HEXISTS', key, 'disabled_at') == 1 then return 0 end
  if not exists then redis.call('DEL', key, key .. ':deliveries') end
  redis.call('SADD', names, name)
  redis.call('HSETNX', key, 'created_at', now_text)
  redis.call('HSET', key, verb == 'disable' and 'disabled_at' or 'updated_at', now_text)
  for at = 5, #ARGV, 2 do
    local field, value = ARGV[at], ARGV[at + 1]
    if field == 'definition' and redis.call('HGET', key, field) ~= value then   -- problems with the old one no longer matter
      redis.call('HDEL', key, 'disabled_at', 'disabled_why', 'failing_since')
    end
    if field == 'first_secret' then
      redis.call('HSETNX', key, 'secret', value)
    elseif field == 'new_secret' then
      local before = redis.call('HGET', key, 'secret')
      if before and before ~= value then redis.call('HSET', key, 'old_secret', before, 'rotated_at', now_text) end
      redis.call('HSET', key, 'secret', value)
    elseif value == '' then
      redis.call('HDEL', key, field)
    else
      redis.call('HSET', key, field, value)
    end
  end
end

-- The events of all webhooks. The first line is a version that changes with any of them: dispatch_webhooks.lua compares it.
local lines, seen, definitions = {}, {}, {}
for _, each in ipairs(redis.call('SMEMBERS', names)) do
  local field = redis.call('HMGET', prefix .. ':webhook:' .. each, 'definition', 'disabled_at')
  local read, definition = pcall(cjson.decode, field[1] or '')
  if read and not field[2] then
    definitions[#definitions + 1] = each .. ' ' .. field[1]
    local types = definition.types and #definition.types > 0 and definition.types or {'*'}
    for _, event in ipairs(definition.events) do
      for _, of_type in ipairs(types) do
        local line = event .. '\t' .. (of_type == '*' and '*' or json(of_type))
        if not seen[line] then lines[#lines + 1], seen[line] = line, true end
      end
    end
  end
end
if #lines == 0 then
  redis.call('DEL', prefix .. ':webhooks:events')
else
  table.sort(lines)
  table.sort(definitions)
  local version = redis.sha1hex(table.concat(definitions, '\n'))
  redis.call('SET', prefix .. ':webhooks:events', version .. '\n' .. table.concat(lines, '\n') .. '\n')
end
return done
