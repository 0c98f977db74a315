--- @include "sets"
--- @include "limits"
local TOKENS_MAX = 1000   -- tokens that one call restores at most: the next call goes on

-- Most queues have neither limits nor webhooks, and pay for no more than this look. A worker that an ACL denies the key knows of
-- no limits, as it did before there were any.
local is_plain = redis.pcall('EXISTS', prefix .. ':limits', prefix .. ':webhooks:events') == 0
local has_limits = not is_plain and redis.pcall('EXISTS', prefix .. ':limits') == 1
if is_plain then wanted_events = false end

-- Keep q:TYPE:jobs at one token for each waiting job that may start: fewer would starve Node's workers, more are noise. Returns
-- how many may, or nil and what is wrong with a key; and the ms after which more of them may, if there is a limit.
local function balance_tokens(type)
  local key, waiting, wait = tokens_key(type), redis.pcall('ZCARD', type_key(type, 'inactive')), nil
  if fault_of(waiting) then return nil, waiting.err end
  if has_limits then
    waiting, wait = startable(type, waiting)
    if not waiting then return nil, wait end
  end
  local tokens = redis.pcall('LLEN', key)
  if fault_of(tokens) then return nil, tokens.err end
  if tokens > waiting then
    if waiting == 0 then call('DEL', key) else call('LTRIM', key, 0, waiting - 1) end
  end
  local missing = math.min(waiting - tokens, TOKENS_MAX)
  if missing > 0 then
    local values = {}
    for at = 1, missing do values[at] = '1' end
    call('LPUSH', key, unpack(values))
  end
  return waiting, wait
end
