-- Gives everything back that a call holds. What counted at admission stays counted.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 '#' and the id
-- Returns 1

local book = rare()
local id = string.sub(ARGV[3], 2)
local state = book.find_call(id, found[2])
if state ~= 'closed' then
  book.give_back(state, found[2])
  close(id, state)
end
write({}, 2)
return 1
