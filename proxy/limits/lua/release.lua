-- Gives everything back that a call holds. What counted at admission stays counted.
--
-- KEYS 1-5: see common.lua
-- ARGV 3 id
-- Returns 1

local id = ARGV[3]
local state, holds = find_call(id)
if state == 'closed' then return 1 end

for i = 1, holds and #holds or 0, 4 do
  local kind, amount, span = holds[i + 1], tonumber(holds[i + 2]), tonumber(holds[i + 3])
  if state == 'live' and kind ~= 'a' then
    change(holds[i], kind, amount, 0, span)
  elseif state == 'ended' and kind == 'q' then
    change(holds[i], kind, 0, -amount, span)
  end
end

close(id, state)
return 1
