-- Where a counter stands now.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 the counter
-- Returns { used, held }, as texts

write()
local used, held = state_of(load_counter(found[2]))
return { int(used), int(held) }
