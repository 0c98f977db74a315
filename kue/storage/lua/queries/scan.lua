--[[
  scan: look through part of the queue for jobs that hold words, in their id, type, data or error. Changes nothing.

  ARGV[3] from, ARGV[4] to   ranks in q:jobs, from its end: 0 is the last
  ARGV[5] most               jobs to return at most
  ARGV[6] bytes              end the look once so much text was read: a large job takes its time
  ARGV[7] n                  words; then for each the number of its spellings, and those. A job has a word if it has
                             any spelling of it. Only A to Z are compared regardless of case.
  Returns    {jobs looked at, id, id, …}
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
  if field[1] then   -- what is no hash is no job
    local text = table.concat({ id, field[1], field[2] or '', field[3] or '' }, '\n')
    read = read + #text
    if has_all(string.lower(text)) then ids[#ids + 1] = id end
  end
  if #ids >= tonumber(ARGV[5]) or read >= tonumber(ARGV[6]) then break end
end
return { looked, unpack(ids) }
