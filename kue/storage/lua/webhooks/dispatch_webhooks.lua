--[[
  dispatch_webhooks: - -> inactive, for the jobs that deliver events to webhooks. The events are removed from the outbox
  atomically, so each creates its jobs once, however many processes try.

  ARGV[3] ''   ARGV[4] JSON: {version: the first line of q:webhooks:events as read, ids: the entries, oldest first}
  ARGV[5] number of jobs; 0 if no webhook receives these events any more
  ARGV[6…]     the jobs, as for create.lua
  Returns    1 done, 0 another process was faster, or a webhook has changed
  Publishes  enqueue for each job
]]
local asked = cjson.decode(ARGV[4])
local outbox = ARGV[1] .. ':webhooks:outbox'
local first = redis.call('XRANGE', outbox, '-', '+', 'COUNT', 1)
if not first[1] or first[1][1] ~= asked.ids[1] then return 0 end
local version = redis.call('GET', ARGV[1] .. ':webhooks:events')
if (version and string.match(version, '^%x*') or '') ~= asked.version then return 0 end
--- @include "transitions/create"
if tonumber(ARGV[5]) > 0 then create() end
redis.call('XDEL', outbox, unpack(asked.ids))
return 1
