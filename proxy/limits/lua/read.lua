-- Where a counter stands now.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 the counter
-- Returns { used, held }, as texts

write({}, 2)
local book = rare()
local used, held = book.state_of(book.load_counter(found[2]))
return { book.int(used), book.int(held) }
