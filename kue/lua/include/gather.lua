-- Changes of sorted sets gathered over several jobs, so that a script touches each set once: `lists` holds the values for
-- each key. Lua's unpack takes 8,000 values at most, so no caller gathers over more than some thousand jobs.
local function gather(lists, key, first, second)
  local list = lists[key]
  if not list then list = {}; lists[key] = list end
  list[#list + 1] = first
  list[#list + 1] = second
end

local function write_out(command, lists)
  for key, list in pairs(lists) do redis.call(command, key, unpack(list)) end
end
