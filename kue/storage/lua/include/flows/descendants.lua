--- @lazy
--- @include "flows/parents"
-- A job's children, their children, and so on, except any that another job waits for too.
local DESCENDANTS_A_PAGE = 500

local function has_other_parent(id, known)
  for parent in string.gmatch(redis.call('HGET', job_key(id), 'parents') or '', '[^,]+') do
    if not known[parent] and redis.call('EXISTS', job_key(parent)) == 1 then return true end
  end
  return false
end

local function descendants(root)
  local found, known, at = {root}, {[root] = true}, 1
  while found[at] do
    local key, from = children_key(found[at]), 0
    repeat
      local page = redis.call('ZRANGE', key, from, from + DESCENDANTS_A_PAGE - 1)
      for _, id in ipairs(page) do
        if not known[id] and not has_other_parent(id, known) then
          known[id] = true
          found[#found + 1] = id
        end
      end
      from = from + #page
    until #page < DESCENDANTS_A_PAGE
    at = at + 1
  end
  table.remove(found, 1)
  return found
end
