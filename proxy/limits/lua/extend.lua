-- Raises what a call in flight holds and renews its lease. KEYS, ARGV, answer: see hold.lua; after the holds comes the
-- amount to hold for each.

local state = find_call(id, found[2])
if state == 'closed' then return answer_as_it_is(0) end

local live = state and { struct.unpack('<' .. string.rep('d', hold_count), found[2], 4) }
local amounts = {}
for i = 1, hold_count do
  local kind = string.byte(ARGV[WHATS + i])
  local had, wanted = tonumber(ARGV[AMOUNTS + i * 3 - 3]), tonumber(ARGV[AMOUNTS + hold_count * 3 + i - 1])
  -- Quotas, and rates that are counted at settlement.
  local grows = kind == 113 or kind == 115
  if not state then
    amounts[i] = grows and math.max(had, wanted) or had
  else
    amounts[i] = grows and math.max(0, wanted - live[i]) or 0
  end
end

if state == 'ended' then
  -- It is in flight after all: it holds again what it held, and the charge is taken back.
  for _, hold in ipairs(holds_of(found[2])) do
    if hold.kind ~= 'a' then change(hold, -hold.amount, hold.kind == 'q' and -hold.amount or 0) end
  end
  found = read_state()
end
-- Renewed first: a call that is refused more is in flight all the same.
if state then
  redis.call('ZADD', TIMES, now + lease, id)
  keep_call(live)
end
return hold_all(amounts, live)
