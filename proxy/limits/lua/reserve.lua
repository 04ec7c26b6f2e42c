-- Holds the worst case of a call against every limit, or names those that refuse. KEYS, ARGV, answer: see hold.lua.

if found[2] and find_call(id, found[2]) then return answer_as_it_is(1) end

local amounts = {}
for i = 1, hold_count do amounts[i] = tonumber(ARGV[AMOUNTS + i * 3 - 3]) end
return hold_all(amounts, nil)
