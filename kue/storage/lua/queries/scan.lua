--[[
  scan: search part of the queue for jobs that contain words in their id, type, data or error. Changes nothing.

  ARGV[3] from, ARGV[4] to   ranks in q:jobs, from its end: 0 is the last
  ARGV[5] most               maximum number of jobs to return
  ARGV[6] bytes              stop after reading this much text: large jobs take longer
  ARGV[7] n                  words; then for each the number of its spellings, and these. A word matches by any of
                             its spellings. Case is ignored for A to Z only.
  Returns    {number of jobs read, id, id, …}
  Publishes  nothing
]]
--- @include "common"
local words, at = {}, 8
for word = 1, tonumber(ARGV[7]) do
  local spellings = {}
  for each = 1, tonumber(ARGV[at]) do spellings[each] = ARGV[at + each] end
  words[word] = spellings
  at = at + 1 + #spellings
end

local function has_all(text)
  for _, spellings in ipairs(words) do
    local found = false
    for _, spelling in ipairs(spellings) do
      found = found or string.find(text, spelling, 1, true) ~= nil
    end
    if not found then return false end
  end
  return true
end

local looked, read, ids = 0, 0, {}
for _, zid in ipairs(redis.call('ZREVRANGE', all_key, ARGV[3], ARGV[4])) do
  local id = id_of(zid)
  local field = redis.pcall('HMGET', job_key(id), 'type', 'data', 'error')
  looked = looked + 1
  if field[1] then   -- a key of another type is not a job
    local text = table.concat({ id, field[1], field[2] or '', field[3] or '' }, '\n')
    read = read + #text
    if has_all(string.lower(text)) then ids[#ids + 1] = id end
  end
  if #ids >= tonumber(ARGV[5]) or read >= tonumber(ARGV[6]) then break end
end
return { looked, unpack(ids) }
