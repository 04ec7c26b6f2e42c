-- Shared head of every script of the limits: decide.ts in Lua. redis.ts puts it before reserve.lua, settle.lua,
-- release.lua, seed.lua and read.lua, and the constants of decide.ts before that:
--   CLOSED_KEPT_MS, ENDED_KEPT_MS, LEASES_PER_STEP, KEPT_MS (how long keys outlive their last use).
--
-- KEYS, the same five first in every script, all in the customer's slot:
--   1 clock    string: the highest clock reading that was seen for the customer, ms
--   2 calls    hash: id of a live call -> what its lease's end has to do (cmsgpack of key, kind, amount, span, ...)
--   3 leases   zset: id of a live call by the end of its lease
--   4 ended    zset: id of a call whose lease ended, by the time when it is forgotten
--   5 closed   zset: id of a settled or released call, likewise
-- ARGV 1: '' for the clock of Redis; a clock in ms in tests only.
--
-- Kinds of holds: 'a' rate counted at admission, 's' rate counted at settlement, 'c' concurrency, 'q' quota.
-- A counter is a line of text: kind ('r' rate, 'c', 'q'), used, held, at, limit, span. For a rate `used` is its level times
-- the window, right at `at`, and `span` is the window in ms; for a quota `span` is the ms at which it ends; for concurrency
-- only `held` says something. (One GET and one SET with its expiry: as a hash it took twice as long.)
--
-- Lua has doubles only: every sum stays below 2^53, where they are exact, and is written without an exponent.

local MAX = 9007199254740991

local function int(n)
  return string.format('%.0f', n)
end

-- a / b, rounded up. math.fmod is exact, a floating division need not be.
local function ceil_divide(a, b)
  local rest = math.fmod(a, b)
  if rest > 0 then return (a - rest) / b + 1 end
  return a / b
end

local function read_clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local clock_ms = read_clock()
-- A clock that goes back stands still until it has caught up: nothing is refilled, ended or opened twice.
local mark = tonumber(redis.call('SET', KEYS[1], int(clock_ms), 'PX', KEPT_MS, 'GET') or '0')
local now = math.max(clock_ms, mark)
if mark > clock_ms then redis.call('SET', KEYS[1], int(mark), 'PX', KEPT_MS) end

local function load_counter(key)
  local text = redis.call('GET', key)
  if not text then return nil end
  local kind, used, held, at, limit, span = string.match(text, '^(%a) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return {
    kind = kind, used = tonumber(used), held = tonumber(held), at = tonumber(at), limit = tonumber(limit),
    span = tonumber(span),
  }
end

local function save_counter(key, c)
  local ttl = KEPT_MS
  if c.kind == 'q' then
    ttl = ttl + c.span - now
  elseif c.kind == 'r' and c.limit > 0 then
    ttl = ttl + ceil_divide(c.used, c.limit)
  end
  local text = string.format('%s %.0f %.0f %.0f %.0f %.0f', c.kind, c.used, c.held, c.at, c.limit, c.span)
  redis.call('SET', key, text, 'PX', int(ttl))
end

-- A counter as a hold finds it. A quota ends at the later of the ends that were named for it.
local function counter_of(key, kind, limit, span)
  local c = load_counter(key)
  if kind == 'a' or kind == 's' then kind = 'r' end
  if not c then return { kind = kind, used = 0, held = 0, at = now, limit = limit, span = span } end
  if c.kind ~= kind then error(key .. ' is of kind ' .. c.kind .. ', not ' .. kind) end
  if kind == 'r' and c.span ~= span then error(key .. ' has another window') end
  if kind == 'q' then c.span = math.max(c.span, span) end
  return c
end

-- The level of a rate now, leaked by `limit` per window since it was right. The product may pass 2^53 and lose digits
-- only where it is above every level.
local function leaked(c, limit)
  return math.max(0, c.used - limit * math.max(0, now - c.at))
end

-- Takes `given` out of what is held and adds `charge` to what is used. A quota that has ended takes no more entries.
local function change(key, kind, given, charge, limit, span)
  local c = counter_of(key, kind, limit, span)
  if kind == 'q' then
    if c.span <= now then return end
    c.used = math.min(math.max(0, c.used + charge), MAX)
  elseif kind ~= 'c' then
    c.used = math.min(leaked(c, c.limit) + charge * c.span, MAX)
    c.at = now
  end
  c.held = math.max(0, c.held - given)
  save_counter(key, c)
end

-- Leases that have ended: quotas are charged with what was held, everything else is given back. The counters of these
-- calls are not among KEYS; they were among the KEYS of their own reserve, so they are in the same slot.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', int(now), 'LIMIT', 0, LEASES_PER_STEP)) do
  local packed = redis.call('HGET', KEYS[2], id)
  if packed then
    local holds = cmsgpack.unpack(packed)
    for i = 1, #holds, 4 do
      local kind, amount = holds[i + 1], tonumber(holds[i + 2])
      change(holds[i], kind, amount, kind == 'q' and amount or 0, 0, tonumber(holds[i + 3]))
    end
    redis.call('HDEL', KEYS[2], id)
  end
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZADD', KEYS[4], int(now + ENDED_KEPT_MS), id)
  redis.call('PEXPIRE', KEYS[4], KEPT_MS)
end

-- live, ended or closed; nil for an id that is not known, or not any more.
local function state_of(id)
  if redis.call('HEXISTS', KEYS[2], id) == 1 then return 'live' end
  local score = redis.call('ZSCORE', KEYS[5], id)
  if score and tonumber(score) > now then return 'closed' end
  score = redis.call('ZSCORE', KEYS[4], id)
  if score and tonumber(score) > now then return 'ended' end
  return nil
end

-- Remembers that a call was settled or released, and forgets some whose time is over.
local function close(id, state)
  if state == 'live' then
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
  elseif state == 'ended' then
    redis.call('ZREM', KEYS[4], id)
  end
  redis.call('ZADD', KEYS[5], int(now + CLOSED_KEPT_MS), id)
  redis.call('PEXPIRE', KEYS[5], KEPT_MS)
  for i = 4, 5 do
    local over = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', int(now), 'LIMIT', 0, LEASES_PER_STEP)
    if #over > 0 then redis.call('ZREM', KEYS[i], unpack(over)) end
  end
end
