-- Shared by reserve.lua and extend.lua: holds amounts against every limit, all of them or none.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 '#' and the id; then the counters of the holds; then the kind and span of each in one text; then the lease in ms;
-- then for each hold three: amount, limit, and what else is to be said:
--   of a rate its burst; 's' before where it is soft
--   of a quota: 's' where it is soft, its currency, its thresholds with commas between; then, where it has a series,
--   '|', the ms at which its period began, '|', the series
-- Answers { 1 or 0, then for each hold: used, held, and 0 where it fits, the ms to wait where it does not, -1 where time
-- alone does not help; then how many are unknown, these; then thresholds: place, threshold, ... }, places from 0, as
-- integers, or all as text

local hold_count = ARGV[2] - 1
local id = string.sub(ARGV[3], 2)
local WHATS, AMOUNTS = 3 + hold_count, 5 + hold_count * 2
local lease = tonumber(ARGV[AMOUNTS - 1])

-- Thresholds and series are read only where something is said: '|' first says a series alone.
local function is_soft(more)
  return string.byte(more) == 115
end

local function is_known(c, more)
  local from = string.find(more, '|', 1, true)
  if not from or math.fmod(c.extra, 2) == 1 then return true end
  if c.extra > 0 then return false end
  local start, series = string.match(more, '^(-?%d+)|(.*)$', from + 1)
  local since = redis.call('HGET', key_beside('known'), series)
  return since and tonumber(since) <= tonumber(start)
end

-- Every step ends here.
local function finish(answer)
  write()
  for i = 2, hold_count * 3 do
    if answer[i] > LARGE then
      for j, number in ipairs(answer) do answer[j] = int(number) end
      break
    end
  end
  return answer
end

-- The answer about a call for which nothing is held now.
local function answer_as_it_is(first)
  local answer = { first }
  for i = 1, hold_count do
    answer[i * 3 - 1], answer[i * 3] = state_of(load_counter(found[2 + i]))
    answer[i * 3 + 1] = 0
  end
  answer[#answer + 1] = 0
  return finish(answer)
end

-- Keeps the call as one that holds `totals` until its lease ends.
local function keep_call(totals)
  local n = #written
  written[n + 1] = ARGV[3]
  written[n + 2] = struct.pack('<c1H' .. string.rep('d', hold_count), 'l', hold_count, unpack(totals))
    .. table.concat(ARGV, '\n', 4, WHATS + hold_count)
  -- For the sweeper: it keeps an entry as long as there are leases, so only the first of them needs one.
  if first_end == NEVER then
    redis.call('ZADD', key_of_shard('due'), 'LT', now + lease, customer())
    must_say_ends = true
  end
  first_end = math.min(first_end, now + lease)
end

-- `amounts` on top of what the call holds already (`live`), which may be nothing.
local function hold_all(amounts, live)
  local answer, unknown, crossed = { 1 }, {}, nil
  local counters = {}
  local admitted = true
  for i = 1, hold_count do
    local what, more = ARGV[WHATS + i], ARGV[AMOUNTS + i * 3 - 1]
    local kind, limit, span = string.sub(what, 1, 1), tonumber(ARGV[AMOUNTS + i * 3 - 2]), tonumber(string.sub(what, 2))
    local amount = amounts[i]
    local fits, used, wait = true, 0, -1
    local c
    if kind == 'q' then
      c = counter_of(ARGV[3 + i], found[2 + i], kind, limit, 0, span)
      if c.span <= now then
        fits = false
      else
        used = c.used
        fits = used + c.held + amount <= limit
      end
      if not live and more ~= '' and not is_known(c, more) then unknown[#unknown + 1] = i - 1 end
    elseif kind == 'c' then
      c = counter_of(ARGV[3 + i], found[2 + i], kind, limit, 0, span)
      fits = c.held + amount <= limit
    else
      local burst = tonumber(more) or tonumber(string.sub(more, 2))
      c = counter_of(ARGV[3 + i], found[2 + i], kind, limit, burst, span)
      local level = leaked(c, limit)
      local free = (burst - c.held - amount) * span
      fits = free >= level
      -- Time helps only where emptying the bucket would be enough. The clock of the store must first come back to where
      -- time stood still.
      if not fits and free >= 0 and limit > 0 then wait = ceil_divide(level - free, limit) + now - clock_ms end
      used = ceil_divide(level, span)
      -- Its level now, under the limit as it is now: what is written if the call is admitted.
      c.level, c.burst = level, burst
    end
    counters[i] = c
    if live and amount == 0 then fits = true end
    if not fits and not is_soft(more) then admitted = false end
    local held = c.held
    if kind == 'q' and c.span <= now then held = 0 end
    answer[i * 3 - 1], answer[i * 3], answer[i * 3 + 1] = used, held, fits and 0 or wait
  end
  if #unknown > 0 then admitted = false end

  -- An id that is neither live nor ended may be closed: its answer stays what it was.
  if not live then
    if admitted and redis.call('ZADD', TIMES, 'NX', now + lease, id) == 0 then
      if is_remembered(id, CLOSED) then return answer_as_it_is(1) end
      redis.call('ZADD', TIMES, now + lease, id)
    elseif not admitted and is_remembered(id, CLOSED) then
      return answer_as_it_is(1)
    end
  end

  if admitted then
    local totals = {}
    for i = 1, hold_count do
      local c, amount = counters[i], amounts[i]
      totals[i] = live and live[i] or 0
      if (not live or amount > 0) and (c.kind ~= 'q' or c.span > now) then
        local limit = tonumber(ARGV[AMOUNTS + i * 3 - 2])
        local kind = string.byte(ARGV[WHATS + i])
        if c.kind == 'q' then
          c.limit, c.extra = limit, math.max(c.extra, 1)
        elseif c.kind == 'r' then
          c.used, c.at, c.limit, c.extra = c.level, now, limit, c.burst
        end
        if kind == 97 then
          c.used = math.min(c.used + amount * c.span, MAX)
          totals[i] = totals[i] + amount
          answer[i * 3 - 1] = ceil_divide(c.used, c.span)
        else
          local more = math.min(amount, MAX - c.held)
          c.held = c.held + more
          totals[i] = totals[i] + more
          answer[i * 3] = c.held
        end
        if kind == 113 then crossed = warn(c, ARGV[3 + i], i - 1, ARGV[AMOUNTS + i * 3 - 1], limit, crossed) end
        save_counter(ARGV[3 + i], c)
      end
    end
    keep_call(totals)
  else
    answer[1] = 0
  end
  local n = #answer
  answer[n + 1] = #unknown
  for i, place in ipairs(unknown) do answer[n + 1 + i] = place end
  if crossed then
    for _, part in ipairs(crossed) do answer[#answer + 1] = part end
  end
  return finish(answer)
end
