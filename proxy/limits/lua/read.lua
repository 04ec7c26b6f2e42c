-- Where a counter stands now.
--
-- KEYS 1-5: see common.lua; 6 the counter
-- Returns { used, held }

local used, held = state_of(load_counter(KEYS[6]))
return { int(used), int(held) }
