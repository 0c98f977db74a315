--- @lazy
--- @include "common"
-- The claims of unique jobs: members of q:unique, with the job's id as the score. A claim is a type and what jobs must not
-- share: "=" and a key as JSON, or "#" and a hash of the data. The job's hash decides whether a claim is valid, so it need not be
-- removed when the job ends or is removed. Fields of the hash:
--   unique          the claim
--   unique_until    until when it is valid: 'start', 'success', or empty: the end of the job
--   unique_expires  epoch ms until when it is valid in any case
--   unique_data     SHA-1 of the data that it was derived from: it is invalid once the data has changed
local function claims_key() return prefix .. ':unique' end
-- Claims that outlast their jobs, which were removed on completion: by the epoch ms until when they are valid.
local function outliving_key() return prefix .. ':unique:outliving' end

local function holds_claim(id, entry)
  local field = redis.call('HMGET', job_key(id), 'type', 'state', 'unique', 'unique_until', 'unique_expires', 'unique_data')
  local state, expires = field[2], number_of(field[5])
  if not field[1] or not state or field[3] ~= entry then return false end
  if field[6] and field[6] ~= redis.sha1hex(redis.call('HGET', job_key(id), 'data') or '') then return false end
  if expires and expires > now then return true end
  if field[4] == 'start' then return state == 'inactive' or state == 'delayed' end
  if field[4] == 'success' then return state ~= 'complete' end
  return state ~= 'complete' and state ~= 'failed'
end

-- Return the id of the job that holds a claim, or nil; and whether that job was removed but its claim is still valid.
local function claimed_by(entry)
  local score = redis.call('ZSCORE', claims_key(), entry)
  if not score then return nil end
  local id = whole(tonumber(score))
  if holds_claim(id, entry) then return id, false end
  local until_ms = number_of(redis.call('ZSCORE', outliving_key(), entry))
  if until_ms and until_ms > now and redis.call('EXISTS', job_key(id)) == 0 then return id, true end
  return nil
end

-- Record that a claim outlasts its job, which is removed on completion. Any other removal ends the claim.
local function let_claim_outlive(id)
  local field = redis.call('HMGET', job_key(id), 'unique', 'unique_expires')
  local expires = number_of(field[2])
  if field[1] and expires and expires > now then redis.call('ZADD', outliving_key(), whole(expires), field[1]) end
end

-- Check `count` claims somewhere in the set, and drop those whose job was removed. The claim of a job that has ended stays, since
-- the job may be retried.
local function sweep_claims(count)
  local size = redis.call('ZCARD', claims_key())
  local from = size > count and now % (size - count + 1) or 0
  for _, entry in ipairs(redis.call('ZRANGE', claims_key(), from, from + count - 1)) do
    local id = whole(tonumber(redis.call('ZSCORE', claims_key(), entry)))
    if redis.call('HGET', job_key(id), 'unique') ~= entry and not claimed_by(entry) then
      redis.call('ZREM', claims_key(), entry)
      redis.call('ZREM', outliving_key(), entry)
    end
  end
end

-- Give a job a claim, as JSON: see create_unique.lua.
local function set_claim(id, claim, data)
  local fields = {'unique', claim.entry}
  if claim['until'] ~= 'end' then fields[3], fields[4] = 'unique_until', claim['until'] end
  if claim.for_ms then
    fields[#fields + 1] = 'unique_expires'
    fields[#fields + 1] = whole(now + claim.for_ms)
  end
  if claim.of_data then
    fields[#fields + 1] = 'unique_data'
    fields[#fields + 1] = redis.sha1hex(data)
  end
  redis.call('HSET', job_key(id), unpack(fields))
  redis.call('ZADD', claims_key(), id, claim.entry)
  redis.call('ZREM', outliving_key(), claim.entry)
end
