-- How long Redis remembers the last call of a producer's lane, seconds.
local LANE_S = 600
