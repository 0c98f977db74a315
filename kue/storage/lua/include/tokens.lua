--- @include "sets"
local TOKENS_MAX = 1000   -- tokens that one call restores at most: the next call goes on

-- Keep q:TYPE:jobs at one token a waiting job: fewer would starve Node's workers, more are noise. Returns how many wait,
-- or nil and what is wrong with a key.
local function balance_tokens(type)
  local key, waiting = tokens_key(type), redis.pcall('ZCARD', type_key(type, 'inactive'))
  if fault_of(waiting) then return nil, waiting.err end
  local tokens = redis.pcall('LLEN', key)
  if fault_of(tokens) then return nil, tokens.err end
  if tokens > waiting then
    if waiting == 0 then redis.call('DEL', key) else redis.call('LTRIM', key, 0, waiting - 1) end
  end
  local missing = math.min(waiting - tokens, TOKENS_MAX)
  if missing > 0 then
    local values = {}
    for at = 1, missing do values[at] = '1' end
    redis.call('LPUSH', key, unpack(values))
  end
  return waiting
end
