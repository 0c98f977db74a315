--- @include "sets"
-- A job's entries in the search indexes. `found_by` is JSON, one list for each index (reds', ours), and in it a word,
-- how often it occurs, the next word, … ; the keys are those that `erase` in sets.lua takes away.
local INDEXES, WORDS_A_CALL = {prefix .. ':search:', prefix .. ':search:text:'}, 1000

local function unindex(id)
  for _, index in ipairs(INDEXES) do
    for _, word in ipairs(redis.call('ZRANGE', index .. 'object:' .. id, 0, -1)) do
      redis.call('ZREM', index .. 'word:' .. word, id)
    end
    redis.call('DEL', index .. 'object:' .. id)
  end
end

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
