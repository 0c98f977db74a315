--- @lazy
--- @include "sets"
-- A job's entries in the search indexes. `found_by` is JSON: for each index (reds', ours) a list of a word, its number of
-- occurrences, the next word, …; `unindex` in sets.lua removes them.
local WORDS_A_CALL = 1000

local function index(id, found_by)
  for at, words in ipairs(cjson.decode(found_by)) do
    local entry = {}
    for i = 1, #words, 2 do
      redis.call('ZADD', INDEXES[at] .. 'word:' .. words[i], words[i + 1], id)
      entry[#entry + 1] = words[i + 1]; entry[#entry + 1] = words[i]
      if #entry == 2 * WORDS_A_CALL or i == #words - 1 then
        redis.call('ZADD', INDEXES[at] .. 'object:' .. id, unpack(entry))
        entry = {}
      end
    end
  end
end

local function is_indexed(id)
  return redis.call('EXISTS', INDEXES[1] .. 'object:' .. id, INDEXES[2] .. 'object:' .. id) > 0
end
