-- A call in the state: 'l' while it is live, 'e' when its lease has ended; the number of its holds in two bytes; what it
-- holds, a double each; then in lines the names of their counters, and in lines again the kind and span of each.

-- Of each hold of a call: counter, kind, amount, span.
local function holds_of(text)
  local _, count = struct.unpack('<c1H', text)
  local lines = {}
  for line in string.gmatch(string.sub(text, 4 + count * 8), '[^\n]+') do lines[#lines + 1] = line end
  local holds = {}
  for i = 1, count do
    local what = lines[count + i]
    holds[i] = {
      name = lines[i], kind = string.sub(what, 1, 1), span = tonumber(string.sub(what, 2)),
      amount = struct.unpack('<d', text, 8 * i - 4),
    }
  end
  return holds
end

-- Changes a counter that is not among those that were read, at once.
local function change(hold, given, charge)
  local text = redis.call('HGET', STATE, hold.name)
  local limit = hold.kind == 'q' and MAX or 0
  local c = counter_of(hold.name, text, hold.kind, limit, 0, hold.span)
  if changed(c, hold.kind, given, charge) then redis.call('HSET', STATE, hold.name, packed(c)) end
end

-- Leases that have ended: quotas are charged with what was held, everything else is given back.
local leases_ended = 0
if first_end <= now then
  local ids = redis.call('ZRANGEBYSCORE', TIMES, '-inf', now, 'LIMIT', 0, LEASES_PER_STEP)
  leases_ended = #ids
  for _, id in ipairs(ids) do
    local text = redis.call('HGET', STATE, '#' .. id)
    if text then
      for _, hold in ipairs(holds_of(text)) do
        if hold.kind ~= 'a' then change(hold, hold.amount, hold.kind == 'q' and hold.amount or 0) end
      end
      redis.call('HSET', STATE, '#' .. id, 'e' .. string.sub(text, 2))
    end
    redis.call('ZADD', TIMES, ENDED + now + ENDED_KEPT_MS, id)
  end
  local next = redis.call('ZRANGE', TIMES, 0, 0, 'WITHSCORES')
  local score = tonumber(next[2])
  first_end = score and score < CLOSED and score or NEVER
  if leases_ended > 0 then found = read_state() end
end

-- The score of an id in a band as a time that is still to come.
local function is_remembered(id, band)
  local score = tonumber(redis.call('ZSCORE', TIMES, id) or nil)
  return score and score - band > now and score < band + CLOSED
end

-- live, ended or closed; nil for an id that is not known, or not any more. `text` is its field of the state.
local function find_call(id, text)
  if not text then return is_remembered(id, CLOSED) and 'closed' or nil end
  if string.byte(text) == 108 then return 'live' end
  if is_remembered(id, ENDED) then return 'ended' end
  redis.call('HDEL', STATE, '#' .. id)
  redis.call('ZREM', TIMES, id)
  return nil
end

-- Takes back what a call holds that nothing was served for, or whose use is not known here. What counted at admission
-- stays counted.
local function give_back(state, text)
  if not state then return end
  for _, hold in ipairs(holds_of(text)) do
    if state == 'live' and hold.kind ~= 'a' then
      change(hold, hold.amount, 0)
    elseif state == 'ended' and hold.kind == 'q' then
      change(hold, 0, -hold.amount)
    end
  end
end

-- Forgets some of the ids of a band whose time is over.
local function forget(band)
  local over = redis.call('ZRANGEBYSCORE', TIMES, band, band + now, 'LIMIT', 0, LEASES_PER_STEP)
  if #over == 0 then return end
  redis.call('ZREM', TIMES, unpack(over))
  if band == CLOSED then return end
  for i, id in ipairs(over) do over[i] = '#' .. id end
  redis.call('HDEL', STATE, unpack(over))
end

-- Remembers that a call was settled or released. In two of eight milliseconds some are forgotten whose time is over: more
-- than come meanwhile.
local function close(id, state)
  if state then redis.call('HDEL', STATE, '#' .. id) end
  if redis.call('ZADD', TIMES, CLOSED + now + CLOSED_KEPT_MS, id) == 1 then must_say_ends = true end
  local turn = math.fmod(now, 8)
  if turn == 0 then forget(CLOSED) elseif turn == 4 then forget(ENDED) end
end
