-- Gives everything back that a call holds. What counted at admission stays counted.
--
-- KEYS 1-5: see common.lua; 6 and on: the counter of each hold
-- ARGV 2 id, then three for each hold: kind, amount, span
-- Returns 1

local id = ARGV[2]
local state = state_of(id)
if state == 'closed' then return 1 end

for i = 1, #KEYS - 5 do
  local key = KEYS[5 + i]
  local at = 3 + (i - 1) * 3
  local kind, amount, span = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if state == 'live' and kind ~= 'a' then
    change(key, kind, amount, 0, 0, span)
  elseif state == 'ended' and kind == 'q' then
    change(key, kind, 0, -amount, 0, span)
  end
end

close(id, state)
return 1
