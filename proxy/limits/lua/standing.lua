-- How a quota stands, for those who ask what it has used.
--
-- KEYS 1-5: see common.lua; 6 the counter
-- Returns { used, mark }

local c = load_counter(KEYS[6])
if not c or c.span <= now then return { '0', '0' } end
return { int(c.used), int(c.extra) }
