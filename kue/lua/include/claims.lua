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
