-- Remembers that a call was settled or released. In two of eight milliseconds some ids are forgotten whose time is over:
-- more than come meanwhile.
local function close(id, state)
  if state then call('HDEL', STATE, '#' .. id) end
  if call('ZADD', TIMES, CLOSED + now + CLOSED_KEPT_MS, id) == 1 then must_say_ends = true end
  if now % 4 ~= 0 then return end
  local band = now % 8 == 0 and CLOSED or ENDED
  local over = call('ZRANGEBYSCORE', TIMES, band, band + now, 'LIMIT', 0, LEASES_PER_STEP)
  if #over == 0 then return end
  call('ZREM', TIMES, unpack(over))
  if band == CLOSED then return end
  for i, each in ipairs(over) do over[i] = '#' .. each end
  call('HDEL', STATE, unpack(over))
end
