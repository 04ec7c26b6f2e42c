-- Where a counter stands now.
--
-- KEYS 1-8: see common.lua; 9 the counter
-- Returns { used, held }

local used, held = state_of(load_counter(KEYS[9]))
return { int(used), int(held) }
