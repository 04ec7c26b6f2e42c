-- Replaces what a call holds by what it used, and appends its event to the shard's stream: both or neither, once.
--
-- KEYS 1-5: see common.lua; 6 the event stream; 7 and on: the counter of each hold
-- ARGV 2 id, 3 the field of the event, 4 the event or '', then five for each hold: kind, amount, used, limit, span
-- Returns 1, or 0 when the call was settled or released before

local id = ARGV[2]
local state = state_of(id)
if state == 'closed' then return 0 end

-- First, since it is what could fail: then nothing has been written.
if ARGV[4] ~= '' then redis.call('XADD', KEYS[6], '*', ARGV[3], ARGV[4]) end

for i = 1, #KEYS - 6 do
  local key = KEYS[6 + i]
  local at = 5 + (i - 1) * 5
  local kind = ARGV[at]
  local amount, used = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local limit, span = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local given = state == 'live' and amount or 0
  if kind == 'q' then
    -- The end of its lease has charged what was held: correct it.
    change(key, kind, given, state == 'ended' and used - amount or used, limit, span)
  elseif kind == 's' then
    change(key, kind, given, used, limit, span)
  elseif kind == 'c' then
    if given > 0 then change(key, kind, given, 0, limit, span) end
  elseif not state then
    change(key, kind, 0, amount, limit, span)
  end
end

close(id, state)
return 1
