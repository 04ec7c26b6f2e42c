-- Raises what a quota has used to billing's sum; never lowers it.
--
-- KEYS 1-5: see common.lua; 6 the counter
-- ARGV 2 used, 3 the ms at which the quota ends
-- Returns 1

local used = tonumber(ARGV[2])
local c = counter_of(KEYS[6], 'q', 0, tonumber(ARGV[3]))
if c.span > now and c.used < used then
  c.used = used
  save_counter(KEYS[6], c)
end
return 1
