--[[
  note_node_event: put the end of a Node worker's attempt, which is known only from pub/sub, into the outbox of webhooks.
  Every subscribed process calls this. An event already recorded, by its own script or another process, is ignored.

  ARGV[3] id   ARGV[4] event: complete, failed or failed attempt   ARGV[5] its arguments: JSON that begins with a comma, or ''
  Returns    1 recorded, 0 already recorded, or no webhook receives it
  Publishes  nothing
]]
--- @include "common"
local id, event, args = ARGV[3], ARGV[4], ARGV[5]
if not wants_event(event) then return 0 end
local field = redis.call('HMGET', job_key(id), 'type', 'noted', 'started_at')
local mark = field[1] and mark_of(event, args, field[3])
if not mark or string.find(field[2] or '', mark, 1, true) then return 0 end
note_event(id, event, args)
return 1
