-- Drops counters that say no more than their absence, out of a few that are drawn. Whoever makes a counter draws eight:
-- so those that say nothing are about a seventh of the others at most, and no step takes long. A rate or a place that
-- calls take and leave again is not dropped and made anew each time: it must have been quiet for an hour.
local function tidy(count)
  local drawn = redis.call('HRANDFIELD', STATE, count, 'WITHVALUES')
  local over = {}
  for i = 1, #drawn, 2 do
    local name = drawn[i]
    local byte = string.byte(name)
    if byte ~= 64 and byte ~= 35 then
      local c = load_counter(drawn[i + 1])
      local is_over = c.kind == 'q' and c.span <= now
      if c.kind ~= 'q' and c.held == 0 and c.at <= now - HOUR_MS then
        is_over = c.kind == 'c' or leaked(c, c.limit) == 0
      end
      if is_over then over[#over + 1] = name end
    end
  end
  if #over == 0 then return end
  redis.call('HDEL', STATE, unpack(over))
  redis.call('ZREM', key_beside('over'), unpack(over))
end

-- The end of every step. How long the keys are kept is said when they are made, and from then on once an hour.
local function write()
  written[2] = struct.pack('<ddd', now, first_end, quotas_end)
  redis.call('HSET', STATE, unpack(written))
  if must_say_ends or math.floor(now / HOUR_MS) ~= math.floor(mark / HOUR_MS) then
    redis.call('PEXPIRE', STATE, math.max(0, quotas_end - now) + KEPT_MS)
    redis.call('PEXPIRE', TIMES, KEPT_MS)
  end
  if made then tidy(8) end
end
