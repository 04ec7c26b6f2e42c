-- What few steps need, made when one does.
--
-- A call in the state: 'l' while it is live, 'e' when its lease has ended; the number of its holds in two bytes; what it
-- holds, a double each; then its holds as it named them (holds.lua).

local function rare()
  local book = {}

  -- Keys of the customer beside the two, and of its shard.
  function book.key_beside(name)
    return string.sub(STATE, 1, -6) .. name
  end
  function book.customer()
    return string.match(STATE, '^.-{%d+}:(.*):state$')
  end
  function book.key_of_shard(name)
    return string.match(STATE, '^.-{%d+}:') .. name
  end

  function book.int(n)
    return string.format('%.0f', n)
  end

  function book.load_counter(text)
    if not text then return nil end
    local kind, used, held, at, limit, span, extra = struct.unpack('<c1dddddd', text)
    return { kind = kind, used = used, held = held, at = at, limit = limit, span = span, extra = extra }
  end

  -- What a counter says: used and held.
  function book.state_of(c)
    if not c or c.kind == 'q' and c.span <= now then return 0, 0 end
    if c.kind == 'r' then return ceil_divide(leaked(c, c.limit), c.span), c.held end
    return c.used, c.held
  end

  -- Of each hold of a call: counter, kind, span, amount, limit, burst.
  function book.holds_of(text)
    local _, count = struct.unpack('<c1H', text)
    local said = cjson.decode(string.sub(text, 4 + count * 8))
    local holds = {}
    for i = 1, count do
      local at = i * 6 - 5
      holds[i] = {
        name = said[at], kind = said[at + 1], span = said[at + 2], amount = struct.unpack('<d', text, 8 * i - 4),
        limit = said[at + 4], burst = tonumber(string.match(said[at + 5], '^s?(%d+)$')) or 0,
      }
    end
    return holds
  end

  -- Changes a counter that a call holds, at once: what was read of it is old then. One that is not there any more had
  -- nothing to say, and is made anew as the call knows it.
  local function change(hold, given, charge)
    local text = call('HGET', STATE, hold.name)
    local c = counter_of(hold.name, text, hold.kind, hold.limit, hold.burst, hold.span)
    if changed(c, given, charge) then call('HSET', STATE, hold.name, packed(c)) end
  end
  local function read_again()
    found = call('HMGET', STATE, unpack(fields))
  end

  -- Leases that have ended: quotas are charged with what was held, everything else is given back.
  function book.end_leases()
    local ids = call('ZRANGEBYSCORE', TIMES, '-inf', now, 'LIMIT', 0, LEASES_PER_STEP)
    for _, id in ipairs(ids) do
      local text = call('HGET', STATE, '#' .. id)
      if text then
        for _, hold in ipairs(book.holds_of(text)) do
          if hold.kind ~= 'a' then change(hold, hold.amount, hold.kind == 'q' and hold.amount or 0) end
        end
        call('HSET', STATE, '#' .. id, 'e' .. string.sub(text, 2))
      end
      call('ZADD', TIMES, ENDED + now + ENDED_KEPT_MS, id)
    end
    local score = tonumber(call('ZRANGE', TIMES, 0, 0, 'WITHSCORES')[2])
    first_end = score and score < CLOSED and score or NEVER
    if #ids > 0 then read_again() end
    return #ids
  end

  -- A call whose lease ended holds again what it held, and the charge is taken back.
  function book.revive(text)
    for _, hold in ipairs(book.holds_of(text)) do
      if hold.kind ~= 'a' then change(hold, -hold.amount, hold.kind == 'q' and -hold.amount or 0) end
    end
    read_again()
  end

  -- Takes back what a call holds that nothing was served for, or whose use is not known here. What counted at admission
  -- stays counted.
  function book.give_back(state, text)
    for _, hold in ipairs(state and book.holds_of(text) or {}) do
      if state == 'live' and hold.kind ~= 'a' then
        change(hold, hold.amount, 0)
      elseif state == 'ended' and hold.kind == 'q' then
        change(hold, 0, -hold.amount)
      end
    end
    read_again()
  end

  -- Whether an id is in a band, and its time is still to come.
  local function is_remembered(id, band)
    local score = tonumber(call('ZSCORE', TIMES, id) or nil)
    return score and score - band > now and score < band + CLOSED
  end

  -- live, ended or closed; nil for an id that is not known, or not any more. `text` is its field of the state.
  function book.find_call(id, text)
    if not text then return is_remembered(id, CLOSED) and 'closed' or nil end
    if string.byte(text) == 108 then return 'live' end
    if is_remembered(id, ENDED) then return 'ended' end
    call('HDEL', STATE, '#' .. id)
    call('ZREM', TIMES, id)
    return nil
  end

  -- What was used may be missing in a quota: it is not known until it is seeded again. Unsaved; nil where it has ended.
  function book.doubted(name, text, span)
    local c = counter_of(name, text, 'q', MAX, 0, span)
    if c.span <= now then return nil end
    if c.extra < 1 then c.extra = 1 end
    c.extra = c.extra + 1 + math.fmod(c.extra + 1, 2)
    return c
  end

  -- Drops counters that say no more than their absence, out of a few that are drawn. Whoever makes a counter draws eight:
  -- so those that say nothing are about a seventh of the others at most, and no step takes long. A rate or a place that
  -- calls take and leave again is not dropped and made anew each time: it must have been quiet for an hour.
  function book.tidy(count)
    local drawn = call('HRANDFIELD', STATE, count, 'WITHVALUES')
    local over = {}
    for i = 1, #drawn, 2 do
      local name = drawn[i]
      local sign = string.byte(name)
      if sign == 35 then
        -- An ended call that nobody asked for in its time.
        book.find_call(string.sub(name, 2), drawn[i + 1])
      elseif sign ~= 64 then
        local c = book.load_counter(drawn[i + 1])
        local is_over = c.kind == 'q' and c.span <= now
        if c.kind ~= 'q' and c.held == 0 and c.at <= now - HOUR_MS then
          is_over = c.kind == 'c' or leaked(c, c.limit) == 0
        end
        if is_over then over[#over + 1] = name end
      end
    end
    if #over == 0 then return end
    call('HDEL', STATE, unpack(over))
    call('ZREM', book.key_beside('over'), unpack(over))
  end

  return book
end

local leases_ended = 0
if first_end <= now then leases_ended = rare().end_leases() end

-- The end of every step: `count` fields and texts of the state, the head first. How long the keys are kept is said when
-- they are made, and from then on once an hour; in each step while the clock is an hour or more behind its mark. That of
-- the calls is kept as long as the state while there are leases: they end by it, whenever somebody comes again.
local function write(fields, count)
  fields[1], fields[2] = '@', struct.pack('<ddd', now, first_end, quotas_end)
  call('HSET', STATE, unpack(fields, 1, count))
  if must_say_ends or now - mark > now % HOUR_MS or now - clock_ms >= HOUR_MS then
    local kept = quotas_end > clock_ms and quotas_end - clock_ms + KEPT_MS or KEPT_MS
    call('PEXPIRE', STATE, kept)
    call('PEXPIRE', TIMES, first_end < NEVER and kept or KEPT_MS)
  end
  if made > 0 then rare().tidy(8 * made) end
end
