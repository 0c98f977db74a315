--- @include "sets"
--- @include "limits/admission"
local TOKENS_MAX = 1000   -- maximum number of tokens that one call restores; the next call continues

-- Most queues have neither limits nor webhooks, and pay only for this check. A worker whose ACL denies the key ignores limits, as
-- before there were any.
local is_plain = redis.pcall('EXISTS', prefix .. ':limits', prefix .. ':webhooks:events') == 0
local has_limits = not is_plain and redis.pcall('EXISTS', prefix .. ':limits') == 1
if is_plain then wanted_events = false end

-- Keep one wake-up token in q:TYPE:jobs for each waiting job that may start: fewer would starve Node's workers, more would wake
-- them in vain. Return how many may start, or nil and the error of a key; and with a limit, the ms after which more may.
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
