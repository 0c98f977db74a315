-- Values collected over several jobs, so that a script sends one command per key, or a few: Lua's unpack takes at most 8,000
-- values. They are counted here, since Lua's # searches for the end each time.
local VALUES_A_CALL = 6000
local function add(list, first, second)
  local n = list.n
  list[n + 1], list[n + 2] = first, second
  list.n = second and n + 2 or n + 1
end

local function send(command, key, list)
  for from = 1, list.n, VALUES_A_CALL do
    redis.call(command, key, unpack(list, from, math.min(list.n, from + VALUES_A_CALL - 1)))
  end
end

-- The same, with a list per key.
local function gather(lists, key, first, second)
  local list = lists[key]
  if not list then list = {n = 0}; lists[key] = list end
  add(list, first, second)
end

local function write_out(command, lists)
  for key, list in pairs(lists) do send(command, key, list) end
end
