-- How a quota stands, for those who ask what it has used.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 the counter
-- Returns { used, mark }, as texts

write({}, 2)
local book = rare()
local c = book.load_counter(found[2])
if not c or c.span <= now then return { '0', '0' } end
return { book.int(c.used), book.int(c.extra) }
