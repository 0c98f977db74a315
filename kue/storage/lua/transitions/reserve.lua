--[[
  reserve: inactive -> active, up to the free slots of each type.

  ARGV[3…]   as in include/transitions/reserve.lua
  Returns    {now_ms, {n, "id token slot name value …", …}: for each job its hash before the reservation, n names and values
             with separators between them, {paused types}, {types of which more may start}, {types with broken keys, each
             with the error}, {types of which more may start later, each with the ms until then}}
  Publishes  start for each job
  Node Kue   Worker#getJob, Worker#process (lib/queue/worker.js)
]]
--- @include "transitions/reserve"
local taken, paused, more, broken, later = reserve(3)
return {now_text, taken, paused, more, broken, later}
