-- Holds the amounts against every limit, all of them or none, on top of what the call holds already (`live`), which may be
-- nothing.

local answer = { 1, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }
local counters = { nil, nil, nil, nil }
local admitted, is_large = true, false
local unknown = nil

for i = 1, hold_count do
  local at = i * 6 - 5
  local kind, span, amount, limit, more = holds[at + 1], holds[at + 2], holds[at + 3], holds[at + 4], holds[at + 5]
  local c, used, held, fits, wait
  if kind == 'q' then
    c = counter_of(fields[2 + i], found[2 + i], kind, limit, 0, span)
    used, held = c.used, c.held
    fits = used + held + amount <= limit
    local is_over = c.span <= now
    if is_over then used, held, fits = 0, 0, false end
    -- Its count is known, or said to be so, or of no use any more.
    local from = not live and not is_over and c.extra % 2 == 0 and string.find(more, '|', 1, true)
    if from then
      local start, series = string.match(more, '^(-?%d+)|(.*)$', from + 1)
      local since = c.extra == 0 and call('HGET', rare().key_beside('known'), series)
      if not since or tonumber(since) > tonumber(start) then
        unknown = unknown or {}
        unknown[#unknown + 1] = i - 1
      end
    end
    c.limit = limit
    if c.extra == 0 then c.extra = 1 end
  elseif kind == 'c' then
    c = counter_of(fields[2 + i], found[2 + i], kind, limit, 0, span)
    used, held = 0, c.held
    fits = held + amount <= limit
  else
    local burst = tonumber(more) or tonumber(string.sub(more, 2))
    c = counter_of(fields[2 + i], found[2 + i], kind, limit, burst, span)
    local level = leaked(c, limit)
    held = c.held
    local free = (burst - held - amount) * span
    fits = free >= level
    -- Time helps only where emptying the bucket would be enough. The clock of the store must first come back to where
    -- time stood still.
    if not fits and free >= 0 and limit > 0 then wait = ceil_divide(level - free, limit) + now - clock_ms end
    used = ceil_divide(level, span)
    c.used, c.at, c.limit, c.extra = level, now, limit, burst
  end
  counters[i] = c
  if live and amount == 0 then fits = true end
  -- 115: soft.
  if not fits and string.byte(more) ~= 115 then admitted = false end
  if used > LARGE or held > LARGE then is_large = true end
  answer[i * 3 - 1], answer[i * 3], answer[i * 3 + 1] = used, held, fits and 0 or wait or -1
end
if unknown then admitted = false end

-- An id that is neither live nor ended may be closed: its answer stays what it was.
if not live then
  if not admitted or call('ZADD', TIMES, 'NX', now + lease, id) == 0 then
    if rare().find_call(id, nil) then return answer_as_it_is(1) end
    if admitted then call('ZADD', TIMES, now + lease, id) end
  end
end

local written, count = { '@', nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }, 2
local crossed = nil
if admitted or live then
  local totals = { nil, nil, nil, nil }
  for i = 1, hold_count do
    local at = i * 6 - 5
    local c, amount = counters[i], holds[at + 3]
    local total = live and live[i] or 0
    if admitted and (not live or amount > 0) and (c.kind ~= 'q' or c.span > now) then
      -- Counted at admission, and not held.
      if holds[at + 1] == 'a' then
        local level = c.used + amount * c.span
        c.used = level > MAX and MAX or level
        total = total + amount
        answer[i * 3 - 1] = ceil_divide(c.used, c.span)
      else
        local more = amount > MAX - c.held and MAX - c.held or amount
        c.held = c.held + more
        total = total + more
        answer[i * 3] = c.held
      end
      if c.used > LARGE or c.held > LARGE then is_large = true end
      if c.kind == 'q' then crossed = warn(c, fields[2 + i], i - 1, holds[at + 5], crossed) end
      written[count + 1], written[count + 2] = fields[2 + i], packed(c)
      count = count + 2
    end
    totals[i] = total
  end
  written[count + 1] = ARGV[2]
  written[count + 2] = struct.pack('<c1H' .. string.rep('d', hold_count), 'l', hold_count, unpack(totals, 1, hold_count))
    .. ARGV[3]
  count = count + 2
  -- For the sweeper: it keeps an entry as long as there are leases, so only one that ends before all others needs one.
  if now + lease < first_end then
    local book = rare()
    call('ZADD', book.key_of_shard('due'), 'LT', now + lease, book.customer())
    if first_end == NEVER then must_say_ends = true end
    first_end = now + lease
  end
end
if not admitted then answer[1] = 0 end
write(written, count)

local last = hold_count * 3 + 2
answer[last] = unknown and #unknown or 0
for _, place in ipairs(unknown or {}) do
  last = last + 1
  answer[last] = place
end
for _, part in ipairs(crossed or {}) do
  last = last + 1
  answer[last] = part
end
if is_large then
  for i = 1, last do answer[i] = rare().int(answer[i]) end
end
return answer
