-- Replaces what a call holds by what it used, and appends its event to the shard's stream: both or neither, once.
--
-- KEYS 1-2: see head.lua; 3 the event stream
-- ARGV 2-3: see holds.lua; 4 the event or ''; 5 '1' where it may have been settled before these counters were lost. What
-- else is to be said of a hold: 's' where it is soft, its currency and its thresholds with commas between, 'k' where its
-- count can be asked for; then after spaces the amount that was reserved, and the burst
-- Answers 0 when the call was settled or released before, 1 where nothing is to be said; else { 1, how many counters have
-- used more than their limit, their places, then thresholds as texts: place, threshold, ... }, places from 0

local text = found[2]
-- 108: live.
local state = text and string.byte(text) == 108 and 'live' or rare().find_call(id, text)
if state == 'closed' then
  write({}, 2)
  return 0
end

-- First, since it is what could fail: then nothing has been written.
if ARGV[4] ~= '' then call('XADD', KEYS[3], '*', EVENT_FIELD, ARGV[4]) end

local replayed = ARGV[5] == '1'
local written, count = { '@', nil, nil, nil, nil, nil, nil, nil, nil, nil }, 2
local over, crossed = nil, nil
for i = 1, hold_count do
  local name, kind, said = holds[i * 6 - 5], holds[i * 6 - 4], holds[i * 6]
  local span, used, limit = holds[i * 6 - 3], holds[i * 6 - 2], holds[i * 6 - 1]
  local c = nil
  -- What counts at admission is counted.
  if not state or kind ~= 'a' then
    local had = found[2 + i]
    local held = state and struct.unpack('<d', text, 8 * i - 4) or 0
    local given = state == 'live' and held or 0
    if replayed and not state and kind == 'q' and string.find(said, '^[^ ]*k') then
      c = rare().doubted(name, had, span)
    elseif kind ~= 'c' or given > 0 then
      local amount, burst = 0, 0
      -- Read only for a counter that is not there, or a call that is not known.
      if kind == 'a' or not had then
        amount, burst = string.match(said, ' (%d+) (%d+)$')
        amount, burst = tonumber(amount), tonumber(burst)
      end
      local charge = kind == 'a' and amount or kind == 'c' and 0 or used
      -- The end of its lease has charged what was held: correct it.
      if kind == 'q' and state == 'ended' then charge = charge - held end
      c = changed(counter_of(name, had, kind, limit, burst, span), given, charge)
      if c and kind == 'q' then
        -- One that was only seeded does not know its limit.
        if c.limit == MAX then c.limit = limit end
        crossed = warn(c, name, i - 1, said, crossed)
      end
      -- Beyond its limit; right at the counter's own time. 115: soft.
      if c and kind ~= 'c' and c.used > (kind == 'q' and c.limit or c.extra * c.span) and string.byte(said) ~= 115 then
        local debts = rare().key_beside('over')
        call('ZADD', debts, 0, name)
        call('PEXPIRE', debts, SERIES_KEPT_MS)
        over = over or {}
        over[#over + 1] = i - 1
      end
    end
  end
  if c then
    written[count + 1], written[count + 2] = name, packed(c)
    count = count + 2
  end
end

close(id, state)
write(written, count)
if not over and not crossed then return 1 end
local answer = { 1, over and #over or 0 }
for _, place in ipairs(over or {}) do answer[#answer + 1] = place end
for _, part in ipairs(crossed or {}) do answer[#answer + 1] = rare().int(part) end
return answer
