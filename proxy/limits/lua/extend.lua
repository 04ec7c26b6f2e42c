-- Raises what a call in flight holds and renews its lease. KEYS, ARGV, answer: see hold.lua; after the holds comes the
-- amount to hold for each.

local state, live = find_call(id)
if state == 'closed' then return answer_as_it_is('0') end

local amounts = {}
for i = 1, hold_count do
  local at = FIRST_HOLD + (i - 1) * HOLD_ARGS
  local kind, had = ARGV[at], tonumber(ARGV[at + 1])
  local wanted = tonumber(ARGV[FIRST_HOLD + hold_count * HOLD_ARGS + i - 1])
  local grows = kind == 'q' or kind == 's'
  if not state then
    amounts[i] = grows and math.max(had, wanted) or had
  else
    amounts[i] = grows and math.max(0, wanted - tonumber(live[i * 4 - 1])) or 0
  end
end

if state == 'ended' then
  -- It is in flight after all: it holds again what it held, and the charge is taken back.
  for i = 1, #live, 4 do
    local kind, amount = live[i + 1], tonumber(live[i + 2])
    if kind ~= 'a' then change(live[i], kind, -amount, kind == 'q' and -amount or 0, tonumber(live[i + 3])) end
  end
  redis.call('ZREM', KEYS[4], id)
end
-- Renewed first: a call that is refused more is in flight all the same.
if state then keep_call(id, live, lease) end
return hold_all(amounts, live)
