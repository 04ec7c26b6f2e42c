-- Replaces what a call holds by what it used, and appends its event to the shard's stream: both or neither, once.
--
-- KEYS 1-2: see head.lua; 3 the event stream
-- ARGV 3 '#' and the id; then the counters of the holds; then the event or ''; '1' where it may have been settled before
-- these counters were lost; then for each hold three: its kind and span in one text, used, and what else there is to say:
-- 's' where it is soft, its currency and its thresholds with commas between, 'k' where its count can be asked for; then
-- after spaces: amount, limit, burst
-- Answers 0 when the call was settled or released before, 1 where nothing is to be said; else { 1, how many counters have
-- used more than their limit, their places, then thresholds as texts: place,
-- threshold, ... }, places from 0

local hold_count = ARGV[2] - 1
local id = string.sub(ARGV[3], 2)
local call = found[2]
local state = find_call(id, call)
if state == 'closed' then
  write()
  return 0
end

-- First, since it is what could fail: then nothing has been written.
local at = 4 + hold_count
if ARGV[at] ~= '' then redis.call('XADD', KEYS[3], '*', EVENT_FIELD, ARGV[at]) end

-- Beyond its limit; right at the counter's own time.
local function is_over(c)
  if c.kind == 'q' then return c.used > c.limit end
  return c.kind == 'r' and c.used > c.extra * c.span
end

local replayed = ARGV[at + 1] == '1'
local over, crossed = nil, nil
for i = 1, hold_count do
  at = at + 3
  local name, what, said = ARGV[3 + i], ARGV[at - 1], ARGV[at + 1]
  local kind = string.sub(what, 1, 1)
  local flag = string.byte(said)
  local text = found[2 + i]
  if state and kind == 'a' then
    -- Counted when it was admitted.
  elseif replayed and not state and kind == 'q' and string.find(said, '^[^ ]*k') then
    doubt(name, text, tonumber(string.sub(what, 2)))
  else
    local held = state and struct.unpack('<d', call, 8 * i - 4) or 0
    local given = state == 'live' and held or 0
    if kind ~= 'c' or given > 0 then
      local amount, limit, burst = 0, 0, 0
      -- 32: nothing, 107: nothing but a count that can be asked for. What a counter has is not read again.
      local warns = kind == 'q' and flag ~= 32 and flag ~= 107
      if kind == 'a' or not text or warns then
        amount, limit, burst = string.match(said, ' (%d+) (%d+) (%d+)$')
        amount, limit, burst = tonumber(amount), tonumber(limit), tonumber(burst)
      end
      local charge = kind == 'a' and amount or kind == 'c' and 0 or tonumber(ARGV[at])
      -- The end of its lease has charged what was held: correct it.
      if kind == 'q' and state == 'ended' then charge = charge - held end
      local c = counter_of(name, text, kind, limit, burst, tonumber(string.sub(what, 2)))
      -- One that was only seeded does not know its limit.
      if kind == 'q' and c.limit == MAX then c.limit = tonumber(string.match(said, ' (%d+) %d+$')) end
      if changed(c, kind, given, charge) then
        if warns then crossed = warn(c, name, i - 1, said, limit, crossed) end
        save_counter(name, c)
        if is_over(c) and flag ~= 115 then
          redis.call('ZADD', key_beside('over'), 0, name)
          redis.call('PEXPIRE', key_beside('over'), SERIES_KEPT_MS)
          over = over or {}
          over[#over + 1] = i - 1
        end
      end
    end
  end
end

close(id, state)
write()
if not over and not crossed then return 1 end
local answer = { 1, over and #over or 0 }
for _, place in ipairs(over or {}) do answer[#answer + 1] = place end
for _, part in ipairs(crossed or {}) do answer[#answer + 1] = int(part) end
return answer
