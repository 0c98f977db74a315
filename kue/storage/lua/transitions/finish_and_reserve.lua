--[[
  finish_and_reserve: acknowledge ended attempts and reserve the next jobs in one call, for busy workers.

  ARGV[3] count  acknowledgements, then for each: verb, id, token, and the values of the verb's own script:
          complete: result, kept   done (complete without a result): none   fail: error, line, message, retry, delay, note, crashed
          release and limit: reason, delay
  ARGV[…] as in include/transitions/reserve.lua
  Returns    {now_ms, {code of each acknowledgement}, {reserved jobs}, {paused types}, {types of which more may start}, {types
             with broken keys}, {types of which more may start later}}, as reserve.lua
  Publishes  the events of complete, fail, release and reserve
]]
--- @include "transitions/complete"
--- @include "transitions/fail"
--- @include "transitions/release"
--- @include "transitions/hold_back"
--- @include "transitions/reserve"
local codes, at = {}, 4
for n = 1, tonumber(ARGV[3]) do
  local verb, id, token = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if verb == 'done' then
    codes[n] = complete(id, token, 'null', '0')
    at = at + 3
  elseif verb == 'complete' then
    codes[n] = complete(id, token, ARGV[at + 3], ARGV[at + 4])
    at = at + 5
  elseif verb == 'fail' then
    codes[n] = fail(id, token, {
      error = ARGV[at + 3], line = ARGV[at + 4], message = ARGV[at + 5],
      retry = ARGV[at + 6], delay = ARGV[at + 7], note = ARGV[at + 8], crashed = ARGV[at + 9],
    })
    at = at + 10
  elseif verb == 'limit' then
    codes[n] = hold_back(id, token, ARGV[at + 3], ARGV[at + 4])
    at = at + 5
  else
    codes[n] = release(id, token, ARGV[at + 3], ARGV[at + 4])
    at = at + 5
  end
end
write_completed()
local taken, paused, more, broken, later = reserve(at)
return {now_text, codes, taken, paused, more, broken, later}
