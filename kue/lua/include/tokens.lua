--- @include "sets"
-- Keep q:TYPE:jobs at one token a waiting job: fewer would starve Node's workers, more are noise. Returns how many wait.
local function balance_tokens(type)
  local key, waiting = tokens_key(type), redis.call('ZCARD', type_key(type, 'inactive'))
  local tokens = redis.call('LLEN', key)
  if tokens > waiting then
    if waiting == 0 then redis.call('DEL', key) else redis.call('LTRIM', key, 0, waiting - 1) end
  end
  for _ = tokens + 1, waiting do redis.call('LPUSH', key, '1') end
  return waiting
end
