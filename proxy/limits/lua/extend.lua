-- Raises what a call in flight holds and renews its lease. KEYS, ARGV, answer: see hold.lua; after the holds comes the
-- amount to hold for each.

local book = rare()
local text = found[2]
local state = book.find_call(id, text)
if state == 'closed' then return answer_as_it_is(0) end

local live = state and { struct.unpack('<' .. string.rep('d', hold_count), text, 4) }
local wanted = {}
for i = 1, hold_count do
  local kind = string.byte(ARGV[WHATS + i])
  local had, whole = tonumber(ARGV[AMOUNTS + i * 3 - 3]), tonumber(ARGV[AMOUNTS + hold_count * 3 + i - 1])
  -- Quotas, and rates that are counted at settlement.
  local grows = kind == 113 or kind == 115
  if state then
    wanted[i] = grows and math.max(0, whole - live[i]) or 0
  else
    wanted[i] = grows and math.max(had, whole) or had
  end
end

if state == 'ended' then book.revive(text) end
-- Renewed first: a call that is refused more is in flight all the same.
if state then call('ZADD', TIMES, now + lease, id) end
