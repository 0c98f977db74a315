--[[
  finish_and_reserve: what a busy worker calls: acknowledge the attempts that ended and take the next jobs, in one step.

  ARGV[3] count  acknowledgements, then for each 9 values:
          verb (complete, fail, release), id, token, and the values that verb's own script takes, filled up with ''
  ARGV[…] as in include/reserve.lua
  Returns    {now_ms, {code of each acknowledgement}, {reserved jobs, as reserve.lua}, {paused types}}
  Publishes  what complete, fail, release and reserve publish
]]
--- @include "complete"
--- @include "fail"
--- @include "release"
--- @include "reserve"
local WIDTH = 9
local count, codes = tonumber(ARGV[3]), {}
for n = 0, count - 1 do
  local at = 4 + n * WIDTH
  local verb, id, token = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if verb == 'complete' then
    codes[n + 1] = complete(id, token, ARGV[at + 3], ARGV[at + 4])
  elseif verb == 'fail' then
    codes[n + 1] = fail(id, token, {
      error = ARGV[at + 3], line = ARGV[at + 4], message = ARGV[at + 5],
      retry = ARGV[at + 6], delay = ARGV[at + 7], note = ARGV[at + 8],
    })
  else
    codes[n + 1] = release(id, token, ARGV[at + 3], ARGV[at + 4])
  end
end
local taken, paused = reserve(4 + count * WIDTH)
return {now_text, codes, taken, paused}
