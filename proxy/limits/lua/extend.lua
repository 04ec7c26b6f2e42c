-- Raises what a call in flight holds and renews its lease. KEYS, ARGV, answer: see hold.lua; 5 is the amount to hold
-- for each, with commas between.

local book = rare()
local text = found[2]
local state = book.find_call(id, text)
if state == 'closed' then return answer_as_it_is(0) end

local live = state and { struct.unpack('<' .. string.rep('d', hold_count), text, 4) }
local i = 0
for whole in string.gmatch(ARGV[5], '%d+') do
  i = i + 1
  whole = tonumber(whole)
  local at = i * 6 - 5
  -- Quotas, and rates that are counted at settlement.
  local grows = holds[at + 1] == 'q' or holds[at + 1] == 's'
  if state then
    holds[at + 3] = grows and math.max(0, whole - live[i]) or 0
  elseif grows then
    holds[at + 3] = math.max(holds[at + 3], whole)
  end
end

if state == 'ended' then book.revive(text) end
-- Renewed first: a call that is refused more is in flight all the same.
if state then call('ZADD', TIMES, now + lease, id) end
