-- Holds the worst case of a call against every limit, or names the first that refuses. All or nothing.
--
-- KEYS 1-5: see common.lua; 6 and on: the counter of each hold
-- ARGV 2 id, 3 lease in ms, then five for each hold: kind, amount, limit, burst, span
-- Returns { '1' }, or { '0', index of the hold from 0, used, held, ms to wait or '' }

local id, lease = ARGV[2], tonumber(ARGV[3])
if state_of(id) then return { '1' } end

local function refusal(index, used, held, wait)
  -- The clock of the store must first come back to where time stood still.
  return { '0', int(index), int(used), int(held), wait and int(wait + now - clock_ms) or '' }
end

local counters = {}
local ending = {}
for i = 1, #KEYS - 5 do
  local key = KEYS[5 + i]
  local at = 4 + (i - 1) * 5
  local kind = ARGV[at]
  local amount, limit = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local burst, span = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local c = counter_of(key, kind, limit, span)
  if kind == 'c' then
    if c.held + amount > limit then return refusal(i - 1, 0, c.held, nil) end
    c.held = c.held + amount
  elseif kind == 'q' then
    if c.span <= now then return refusal(i - 1, 0, 0, nil) end
    if c.used + c.held + amount > limit then return refusal(i - 1, c.used, c.held, nil) end
    c.held = c.held + amount
  else
    local level = leaked(c, limit)
    local free = (burst - c.held - amount) * span
    if free < level then
      -- Time helps only where emptying the bucket would be enough.
      local wait = free >= 0 and limit > 0 and ceil_divide(level - free, limit) or nil
      return refusal(i - 1, ceil_divide(level, span), c.held, wait)
    end
    c.at, c.limit, c.used = now, limit, level
    if kind == 'a' then c.used = level + amount * span else c.held = c.held + amount end
  end
  counters[i] = c
  if kind ~= 'a' then
    local n = #ending
    ending[n + 1], ending[n + 2], ending[n + 3], ending[n + 4] = key, kind, ARGV[at + 1], ARGV[at + 4]
  end
end

for i = 1, #KEYS - 5 do
  save_counter(KEYS[5 + i], counters[i])
end
redis.call('HSET', KEYS[2], id, cmsgpack.pack(ending))
redis.call('PEXPIRE', KEYS[2], KEPT_MS)
redis.call('ZADD', KEYS[3], int(now + lease), id)
redis.call('PEXPIRE', KEYS[3], KEPT_MS)
return { '1' }
