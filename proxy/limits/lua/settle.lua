-- Replaces what a call holds by what it used, and appends its event to the shard's stream: both or neither, once.
--
-- KEYS 1-5: see common.lua; 6 the event stream; 7 and on: the counter of each hold
-- ARGV 3 id, 4 the field of the event, 5 the event or '', 6 '1' where it may have been settled before these counters were
-- lost, then for each hold seven: kind, amount, used, limit, burst, span, and '' or: 'k' where its count can be asked
-- for, 's' where it is soft, its currency and its thresholds with commas between
-- Answers { '1', or '0' when the call was settled or released before; then how many counters have used more than their
-- limit, their places; then thresholds: place, threshold, ... }

local id = ARGV[3]
local state, holds = find_call(id)
if state == 'closed' then return { '0', '0' } end

-- First, since it is what could fail: then nothing has been written.
if ARGV[5] ~= '' then redis.call('XADD', KEYS[6], '*', ARGV[4], ARGV[5]) end

fetch_counters(7)
local replayed = ARGV[6] == '1'
local over, crossed = {}, {}
for i = 1, #KEYS - 6 do
  local key = KEYS[6 + i]
  local at = 7 + (i - 1) * 7
  local said = ARGV[at + 6]
  local kind, amount, used = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local limit, burst, span = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local held = holds and tonumber(holds[i * 4 - 1]) or 0
  local charge = used
  if kind == 'c' then
    charge = 0
  elseif kind == 'a' then
    charge = amount
  elseif kind == 'q' and state == 'ended' then
    -- The end of its lease has charged what was held: correct it.
    charge = used - held
  end
  local given = state == 'live' and kind ~= 'a' and held or 0
  if replayed and not state and kind == 'q' and string.sub(said, 1, 1) == 'k' then
    doubt(key, span)
  elseif not (kind == 'a' and state) and not (kind == 'c' and given == 0) then
    local c = changed(key, kind, given, charge, limit, burst, span)
    if c then
      if said ~= '' and kind == 'q' then warn(c, key, i - 1, said, limit, crossed) end
      save_counter(key, c)
      if is_over(c) and not string.find(said, 's', 1, true) then
        local debts = key_beside('debts')
        redis.call('ZADD', debts, 0, key)
        redis.call('PEXPIRE', debts, SERIES_KEPT_MS)
        over[#over + 1] = int(i - 1)
      end
    end
  end
end

close(id, state)
local answer = { '1', int(#over) }
for _, place in ipairs(over) do answer[#answer + 1] = place end
for _, part in ipairs(crossed) do answer[#answer + 1] = part end
return answer
