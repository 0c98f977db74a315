--[[
  link_rerun: record that a job is a copy of another.

  ARGV[3] copy   ARGV[4] original
  Returns    1 recorded, -1 the copy does not exist. If the original does not exist, the copy names it all the same.
  Publishes  nothing
  Hash       copy: copy_of; original: copies, the newest 20 ids, comma-separated
]]
--- @include "common"
local COPIES_KEPT = 20
local copy, original = ARGV[3], ARGV[4]
if redis.call('HEXISTS', job_key(copy), 'type') == 0 then return -1 end
redis.call('HSET', job_key(copy), 'copy_of', original)
if redis.call('HEXISTS', job_key(original), 'type') == 1 then
  local ids = {}
  for id in string.gmatch((redis.call('HGET', job_key(original), 'copies') or ''), '[^,]+') do ids[#ids + 1] = id end
  ids[#ids + 1] = copy
  while #ids > COPIES_KEPT do table.remove(ids, 1) end
  redis.call('HSET', job_key(original), 'copies', table.concat(ids, ','))
end
return 1
