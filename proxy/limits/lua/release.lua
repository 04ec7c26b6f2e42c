-- Gives everything back that a call holds. What counted at admission stays counted.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 '#' and the id
-- Returns 1

local id = string.sub(ARGV[3], 2)
local state = find_call(id, found[2])
if state ~= 'closed' then
  give_back(state, found[2])
  close(id, state)
end
write()
return 1
