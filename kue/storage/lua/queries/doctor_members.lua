--[[
  doctor_members: find members of a set that do not belong there according to their job's hash.

  ARGV[3] kind     "jobs": q:jobs. "state": q:jobs:STATE. "type": q:jobs:TYPE:STATE. "ids": plain ids, in any set
  ARGV[4] type     ARGV[5] state, if the kind has them
  ARGV[6…]         members
  Returns          these members; the doctor then checks each job as a whole
  Publishes        nothing
]]
--- @include "common"
local kind, type, state, wrong = ARGV[3], ARGV[4], ARGV[5], {}
for at = 6, #ARGV do
  local member = ARGV[at]
  local id = kind == 'ids' and member or id_of(member)
  local field = redis.pcall('HMGET', job_key(id), 'type', 'state')
  if field.err or not field[1]
      or (kind == 'state' and field[2] ~= state)
      or (kind == 'type' and (field[1] ~= type or field[2] ~= state)) then
    wrong[#wrong + 1] = member
  end
end
return wrong
