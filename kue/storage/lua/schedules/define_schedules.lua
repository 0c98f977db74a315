--[[
  define_schedules: write schedules, all or none, and remove those that the owner no longer declares.

  ARGV[3] owner    of these schedules; '' leaves each one's owner unchanged
  ARGV[4] 1        also remove the owner's other schedules
  ARGV[5…]         for each, JSON with strings only:
    name, definition
    sha, next_at   digest of its definition, and its next time, as read by the caller; '' for none
    anchor, following, following_due   for a new or changed one: see times.py; '' if there is no further time
  Returns    {1, removed names}, or {0, name}: that schedule has changed since it was read; nothing was written
  Publishes  nothing
]]
--- @include "schedules"
local owner, declared = ARGV[3], {}
local wanted = {}
for at = 5, #ARGV do
  local asked = cjson.decode(ARGV[at])
  if not is_as_known(asked.name, asked.sha, asked.next_at) then return {0, asked.name} end
  wanted[#wanted + 1] = asked
  declared[asked.name] = true
end
for _, asked in ipairs(wanted) do
  local key = schedule_key(asked.name)
  if redis.call('HGET', key, 'definition') ~= asked.definition then
    if asked.sha == '' then redis.call('HSET', key, 'created_at', now_text) end
    redis.call('HSET', key, 'definition', asked.definition, 'anchor', asked.anchor, 'updated_at', now_text)
    if redis.call('HGET', key, 'paused') == '1' then
      set_next(asked.name, '', '')
    else
      set_next(asked.name, asked.following, asked.following_due)
    end
  end
  if owner ~= '' then redis.call('HSET', key, 'owner', owner) end
end
local removed = {}
if ARGV[4] == '1' then
  for _, name in ipairs(redis.call('ZRANGE', schedules_key, 0, -1)) do
    if not declared[name] and redis.call('HGET', schedule_key(name), 'owner') == owner then
      redis.call('ZREM', schedules_key, name)
      redis.call('DEL', schedule_key(name))
      removed[#removed + 1] = name
    end
  end
end
return {1, removed}
