--[[
  search: find the jobs that are in at least one zset of each group, highest sum of scores first, equal ones in descending
  byte order of their ids, as in Node's search. Entries of removed jobs (a Node process without search removed them) are
  deleted when found.

  ARGV[3] limit   maximum number of ids to return, or -1
  ARGV[4] 1: only jobs that are not in our index: those indexed by Node, and ours of ASCII text only
  ARGV[5…] for each group the number of its keys, then their names without the prefix ("search:word:WLKM")
  Returns    {id, …}
  Publishes  nothing
  Node Kue   reds, Query#end
]]
--- @include "search"
local CHUNK = 1000
local limit, nodes, at, groups = tonumber(ARGV[3]), ARGV[4] == '1', 5, {}
local made = {}

local function temporary()
  made[#made + 1] = prefix .. ':searchtmpkey:' .. (#made + 1)
  return made[#made]
end

while at <= #ARGV do
  local keys = {}
  for i = at + 1, at + tonumber(ARGV[at]) do
    local key = prefix .. ':' .. ARGV[i]
    if redis.call('TYPE', key).ok == 'zset' then keys[#keys + 1] = key end
  end
  at = at + 1 + tonumber(ARGV[at])
  local group = keys[1]
  if #keys > 1 then
    group = temporary()
    redis.call('ZUNIONSTORE', group, #keys, unpack(keys))
  end
  groups[#groups + 1] = group or all_key .. ':none'   -- a key that does not exist: no job matches
end

local source = groups[1]
if not source then return {} end
if #groups > 1 then
  source = temporary()
  redis.call('ZINTERSTORE', source, #groups, unpack(groups))
end

local found, rank, gone = {}, 0, {}
while limit < 0 or #found < limit do
  local ids = redis.call('ZREVRANGE', source, rank, rank + CHUNK - 1)
  for _, id in ipairs(ids) do
    if redis.call('EXISTS', job_key(id)) == 0 then
      gone[#gone + 1] = id
    elseif (limit < 0 or #found < limit) and not (nodes and redis.call('EXISTS', INDEXES[2] .. 'object:' .. id) == 1) then
      found[#found + 1] = id
    end
  end
  if #ids < CHUNK then break end
  rank = rank + CHUNK
end
for _, key in ipairs(made) do redis.call('DEL', key) end
for _, id in ipairs(gone) do unindex(id) end
return found
