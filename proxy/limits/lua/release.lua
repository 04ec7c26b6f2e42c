-- Gives everything back that a call holds. What counted at admission stays counted.
--
-- KEYS 1-5: see common.lua
-- ARGV 3 id
-- Returns 1

local id = ARGV[3]
local state, holds = find_call(id)
if state == 'closed' then return 1 end

give_back(state, holds)
close(id, state)
return 1
