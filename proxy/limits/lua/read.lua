-- Where a counter stands now.
--
-- KEYS 1-5: see common.lua; 6 the counter
-- Returns { used, held }

local c = load_counter(KEYS[6])
if not c or (c.kind == 'q' and c.span <= now) then return { '0', '0' } end
if c.kind == 'r' then return { int(ceil_divide(leaked(c, c.limit), c.span)), int(c.held) } end
return { int(c.used), int(c.held) }
