-- Holds the worst case of a call against every limit, or names those that refuse. KEYS, ARGV, answer: see hold.lua.

if find_call(id) then return answer_as_it_is('1') end

local amounts = {}
for i = 1, hold_count do
  amounts[i] = tonumber(ARGV[FIRST_HOLD + (i - 1) * HOLD_ARGS + 1])
end
return hold_all(amounts, nil)
