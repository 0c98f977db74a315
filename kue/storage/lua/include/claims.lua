--- @include "common"
-- The claims of unique jobs: members of q:unique, each with the id of its job as the score.
local claims_key = prefix .. ':unique'

local function has_ended(id)
  local state = redis.call('HGET', job_key(id), 'state')
  return not state or state == 'complete' or state == 'failed'
end

-- Look at `count` claims somewhere in the set, and drop those whose job has ended.
local function sweep_claims(count)
  local size = redis.call('ZCARD', claims_key)
  local from = size > count and now % (size - count + 1) or 0
  for _, entry in ipairs(redis.call('ZRANGE', claims_key, from, from + count - 1)) do
    if has_ended(whole(tonumber(redis.call('ZSCORE', claims_key, entry)))) then redis.call('ZREM', claims_key, entry) end
  end
end

-- Tell whether a job that has not ended has `text`, one member of a JSON object, in its data: that may be changed by hand.
local function holds_claim(id, text)
  if has_ended(id) then return false end
  local wanted_name, wanted = next(cjson.decode('{' .. text .. '}'))
  local data = redis.call('HGET', job_key(id), 'data') or ''
  if not string.find(data, text, 1, true) then return false end
  local read, decoded = pcall(cjson.decode, data)
  return read and type(decoded) == 'table' and decoded[wanted_name] == wanted
end

-- Returns the id of the job that holds a claim, or nil.
local function claimed_by(entry, text)
  local score = redis.call('ZSCORE', claims_key, entry)
  local id = score and whole(tonumber(score))
  return id and holds_claim(id, text) and id or nil
end
