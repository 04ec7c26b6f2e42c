-- Shared by reserve.lua and extend.lua: holds amounts against every limit, all of them or none.
--
-- KEYS 1-5: see common.lua; 6 and on: the counter of each hold
-- ARGV 3 id, 4 lease in ms, then for each hold six: kind, amount, limit, burst, span, and '' where nothing else is to be
-- said, else 's' where it is soft, its currency and its thresholds with commas between, '|', the ms at which its period began, '|', series
-- Answers { '1' or '0', then for each hold: used, held, and nothing where it fits, the ms to wait where it does not, 'n'
-- where time alone does not help; then how many are unknown, these; then thresholds: place, threshold, ... }

local HOLD_ARGS, FIRST_HOLD, FIRST_COUNTER = 6, 5, 6
local id, lease = ARGV[3], tonumber(ARGV[4])
local hold_count = #KEYS - FIRST_COUNTER + 1

local function hold_at(i)
  local at = FIRST_HOLD + (i - 1) * HOLD_ARGS
  local hold = {
    key = KEYS[FIRST_COUNTER + i - 1], kind = ARGV[at], limit = tonumber(ARGV[at + 2]),
    burst = tonumber(ARGV[at + 3]), span = tonumber(ARGV[at + 4]), span_text = ARGV[at + 4],
  }
  if ARGV[at + 5] ~= '' then
    local soft, thresholds, start, series = string.match(ARGV[at + 5], '^(s?)([^|]*)|(-?%d*)|(.*)$')
    hold.soft, hold.thresholds = soft == 's', thresholds
    if series ~= '' then hold.series, hold.start = series, tonumber(start) end
  end
  return hold
end

-- Whether `amount` more fits, and how long until it would.
local function fit(hold, c, amount)
  if hold.kind == 'c' then return c.held + amount <= hold.limit end
  if hold.kind == 'q' then return c.span > now and c.used + c.held + amount <= hold.limit end
  local level = leaked(c, hold.limit)
  local free = (hold.burst - c.held - amount) * hold.span
  if free >= level then return true end
  -- Time helps only where emptying the bucket would be enough. The clock of the store must first come back to where time
  -- stood still.
  if free < 0 or hold.limit == 0 then return false end
  return false, ceil_divide(level - free, hold.limit) + now - clock_ms
end

local function is_known(hold, c)
  if not hold.series or math.fmod(c.extra, 2) == 1 then return true end
  if c.extra > 0 then return false end
  local since = redis.call('HGET', key_beside('since'), hold.series)
  return since and tonumber(since) <= hold.start
end

-- What is held, with `amount` more in it, and how much of that is held.
local function admit(hold, c, amount)
  if hold.kind == 'q' then
    if c.span <= now then return 0 end
    c.limit, c.extra = hold.limit, math.max(c.extra, 1)
  elseif hold.kind ~= 'c' then
    c.used, c.at, c.limit, c.extra = leaked(c, hold.limit), now, hold.limit, hold.burst
    if hold.kind == 'a' then
      c.used = math.min(c.used + amount * hold.span, MAX)
      return amount
    end
  end
  local more = math.min(amount, MAX - c.held)
  c.held = c.held + more
  return more
end


-- `amounts` on top of what the call holds already (`live`: key, kind, amount, span of each hold), which may be nothing.
local function hold_all(amounts, live)
  local answer, unknown, crossed = { '1' }, {}, {}
  local holds, counters, stands = {}, {}, {}
  fetch_counters(FIRST_COUNTER)
  for i = 1, hold_count do
    local hold = hold_at(i)
    local c = counter_of(hold.key, hold.kind, hold.limit, hold.burst, hold.span)
    local amount = amounts[i]
    holds[i], counters[i] = hold, c
    local fits, wait = fit(hold, c, amount)
    if live and amount == 0 then fits = true end
    if not fits and not hold.soft then answer[1] = '0' end
    if not live and hold.kind == 'q' and not is_known(hold, c) then unknown[#unknown + 1] = int(i - 1) end
    local used, held = 0, c.held
    if hold.kind == 'r' or hold.kind == 'a' or hold.kind == 's' then
      used = ceil_divide(leaked(c, hold.limit), c.span)
    elseif hold.kind == 'q' then
      used = c.used
      if c.span <= now then used, held = 0, 0 end
    end
    stands[i] = { used, held, fits and '' or (wait and int(wait) or 'n') }
  end
  if #unknown > 0 then answer[1] = '0' end
  if answer[1] == '1' then
    local packed = {}
    for i = 1, hold_count do
      local hold, c = holds[i], counters[i]
      local total = live and tonumber(live[i * 4 - 1]) or 0
      if not live or amounts[i] > 0 then
        total = total + admit(hold, c, amounts[i])
        if hold.kind ~= 'q' or c.span > now then
          if hold.thresholds then warn(c, hold.key, i - 1, hold.thresholds, hold.limit, crossed) end
          save_counter(hold.key, c)
          stands[i][1], stands[i][2] = state_of(c)
        end
      end
      local at = i * 4 - 3
      packed[at], packed[at + 1], packed[at + 2], packed[at + 3] = hold.key, hold.kind, int(total), hold.span_text
    end
    keep_call(id, packed, lease)
  end
  for i = 1, hold_count do answer[i + 1] = string.format('%.0f %.0f %s', stands[i][1], stands[i][2], stands[i][3]) end
  answer[#answer + 1] = int(#unknown)
  for _, place in ipairs(unknown) do answer[#answer + 1] = place end
  for _, part in ipairs(crossed) do answer[#answer + 1] = part end
  return answer
end

-- The answer about a call for which nothing is held now.
local function answer_as_it_is(first)
  local answer = { first }
  for i = 1, hold_count do
    local used, held = state_of(load_counter(KEYS[FIRST_COUNTER + i - 1]))
    answer[i + 1] = string.format('%.0f %.0f ', used, held)
  end
  answer[#answer + 1] = '0'
  return answer
end
