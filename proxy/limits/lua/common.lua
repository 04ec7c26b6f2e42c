-- Shared head of every script of the limits: decide.ts and counter.ts in Lua. redis.ts puts it before reserve.lua,
-- extend.lua, settle.lua, release.lua, seed.lua, doubt.lua, read.lua, live.lua, debts.lua and sweep.lua, and the constants of
-- decide.ts before that:
--   CLOSED_KEPT_MS, ENDED_KEPT_MS, LEASES_PER_STEP, KEPT_MS (how long keys outlive their last use), SERIES_KEPT_MS.
--
-- KEYS, the same five first in every script, all in the customer's slot:
--   1 clock    string: the highest clock reading that was seen for the customer, ms
--   2 calls    hash: id of a call that is live or whose lease ended -> 'l' or 'e', and what it holds (cmsgpack of key,
--              kind, amount, span for each hold in order)
--   3 leases   zset: id of a live call by the end of its lease
--   4 ended    zset: id of a call whose lease ended, by the time when it is forgotten
--   5 closed   zset: id of a settled or released call, likewise
-- Most steps need no others. Those that do make these names, of the same hash tag and so of the same slot:
--   debts      zset, all scores 0: keys of counters that have used more than their limit allows, or had
--   since      hash: series -> the ms since when everything that it counts is counted here
--   due        zset of the whole shard: customer that has live calls, by an end of a lease among them
-- ARGV 1: '' for the clock of Redis; a clock in ms in tests only. ARGV 2: the customer.
--
-- Kinds of holds: 'a' rate counted at admission, 's' rate counted at settlement, 'c' concurrency, 'q' quota.
-- A counter is a packed text: kind ('r' rate, 'c', 'q'), then as doubles used, held, at, limit, span, extra.
--   r: used is its level times the window, right at `at`; span the window in ms; extra the burst
--   c: only held says something; at is when it was last said how long it is kept
--   q: at is the highest threshold that was reported; span the ms at which it ends; extra is its mark: 0 until it is known
--      that all that was used is in it, odd while that is known, even while it is in doubt; it only grows
-- (One text each: as a hash it took twice as long, and as digits half as long again.)
--
-- Lua has doubles only: every sum stays below 2^53, where they are exact, and is written without an exponent.

local MAX = 9007199254740991

-- Of the customer: its keys end in a name behind a colon. Of the shard: without the customer, which stands in between.
local function key_beside(name)
  return string.sub(KEYS[1], 1, -6) .. name
end
local function due_key()
  return string.sub(KEYS[1], 1, -8 - #ARGV[2]) .. ':due'
end

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
local now_text = int(now)

-- How long a key is kept is said when it is made, and from then on once an hour: a call of Redis is what a script pays for.
local function is_new_hour(before)
  return math.floor(now / 3600000) ~= math.floor(before / 3600000)
end
if is_new_hour(mark) then
  redis.call('PEXPIRE', KEYS[2], KEPT_MS)
  redis.call('PEXPIRE', KEYS[3], KEPT_MS)
end

-- Counters that are about to be read, in one step: their texts, each until it is read.
local fetched = {}
local function fetch_counters(from)
  if #KEYS < from then return end
  local texts = redis.call('MGET', unpack(KEYS, from))
  for i = from, #KEYS do fetched[KEYS[i]] = texts[i - from + 1] end
end

local PACKED = '<c1dddddd'
-- As digits until it is written again, where an earlier version left it. What is packed has bytes that are no digits.
local function unpack_counter(text)
  local kind, digits = string.match(text, '^(%a) ([%d ]+)$')
  if not kind then return struct.unpack(PACKED, text) end
  local numbers = {}
  for number in string.gmatch(digits, '%d+') do numbers[#numbers + 1] = tonumber(number) end
  return kind, unpack(numbers)
end

local function load_counter(key)
  local text = fetched[key]
  if text == nil then text = redis.call('GET', key) else fetched[key] = nil end
  if not text then return nil end
  local kind, used, held, at, limit, span, extra = unpack_counter(text)
  -- When its key's end was said last, or for a quota which.
  local kept = kind == 'q' and span or at
  return { kind = kind, used = used, held = held, at = at, limit = limit, span = span, extra = extra, kept = kept }
end

-- The end of a quota's key is that of the quota, and more; every other key ends when nobody has used it for long.
local function keeps_its_end(c)
  if c.kind == 'q' then return c.kept == c.span end
  if not c.kept or is_new_hour(c.kept) then return false end
  return c.kind == 'c' or c.limit == 0 or c.used / c.limit < KEPT_MS / 2
end

local function save_counter(key, c)
  if keeps_its_end(c) then
    redis.call('SET', key, struct.pack(PACKED, c.kind, c.used, c.held, c.at, c.limit, c.span, c.extra), 'KEEPTTL')
    return
  end
  local ttl = KEPT_MS
  if c.kind == 'q' then
    ttl = ttl + c.span - now
  elseif c.kind == 'r' and c.limit > 0 then
    ttl = ttl + ceil_divide(c.used, c.limit)
  elseif c.kind == 'c' then
    c.at = now
  end
  redis.call('SET', key, struct.pack(PACKED, c.kind, c.used, c.held, c.at, c.limit, c.span, c.extra), 'PX', int(ttl))
end

-- A counter as a hold finds it. A quota ends at the later of the ends that were named for it.
local function counter_of(key, kind, limit, burst, span)
  local c = load_counter(key)
  if kind == 'a' or kind == 's' then kind = 'r' end
  if not c then
    local q = kind == 'q'
    return {
      kind = kind, used = 0, held = 0, at = q and 0 or now, limit = limit, span = span, extra = q and 0 or burst,
    }
  end
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

-- What a counter says: used and held.
local function state_of(c)
  if not c or c.kind == 'q' and c.span <= now then return 0, 0 end
  if c.kind == 'r' then return ceil_divide(leaked(c, c.limit), c.span), c.held end
  return c.used, c.held
end

-- Takes `given` out of what is held and adds `charge` to what is used, unsaved. A quota that has ended takes no more
-- entries: nil.
local function changed(key, kind, given, charge, limit, burst, span)
  local c = counter_of(key, kind, limit, burst, span)
  if kind == 'q' then
    if c.span <= now then return nil end
    c.used = math.min(math.max(0, c.used + charge), MAX)
    -- One that was only seeded does not know its limit.
    if c.limit == MAX then c.limit = limit end
  elseif kind ~= 'c' then
    c.used = math.min(leaked(c, c.limit) + charge * c.span, MAX)
    c.at = now
  end
  c.held = math.min(math.max(0, c.held - given), MAX)
  return c
end

local function change(key, kind, given, charge, span)
  local c = changed(key, kind, given, charge, kind == 'q' and MAX or 0, 0, span)
  if c then save_counter(key, c) end
end

-- What was used may be missing in a quota: it is not known until it is seeded again.
local function doubt(key, span)
  local c = counter_of(key, 'q', MAX, 0, span)
  if c.span <= now then return end
  c.extra = math.max(c.extra, 1)
  c.extra = c.extra + 1 + math.fmod(c.extra + 1, 2)
  save_counter(key, c)
end

-- Takes back what a call holds that nothing was served for, or whose use is not known here. What counted at admission
-- stays counted.
local function give_back(state, holds)
  for i = 1, holds and #holds or 0, 4 do
    local kind, amount, span = holds[i + 1], tonumber(holds[i + 2]), tonumber(holds[i + 3])
    if state == 'live' and kind ~= 'a' then
      change(holds[i], kind, amount, 0, span)
    elseif state == 'ended' and kind == 'q' then
      change(holds[i], kind, 0, -amount, span)
    end
  end
end

-- Beyond its limit; right at the counter's own time.
local function is_over(c)
  if c.kind == 'q' then return c.used > c.limit end
  return c.kind == 'r' and c.used > c.extra * c.span
end

-- Leases that have ended: quotas are charged with what was held, everything else is given back. The counters of these
-- calls are not among KEYS; they were among the KEYS of their own reserve, so they are in the same slot.
local leases_ended = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_text, 'LIMIT', 0, LEASES_PER_STEP)
for _, id in ipairs(leases_ended) do
  local text = redis.call('HGET', KEYS[2], id)
  if text then
    local packed = string.sub(text, 2)
    local holds = cmsgpack.unpack(packed)
    for i = 1, #holds, 4 do
      local kind, amount = holds[i + 1], tonumber(holds[i + 2])
      if kind ~= 'a' then change(holds[i], kind, amount, kind == 'q' and amount or 0, tonumber(holds[i + 3])) end
    end
    redis.call('HSET', KEYS[2], id, 'e' .. packed)
  end
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZADD', KEYS[4], int(now + ENDED_KEPT_MS), id)
  redis.call('PEXPIRE', KEYS[4], KEPT_MS)
end

-- live, ended or closed, and what it holds; nil for an id that is not known, or not any more.
local function find_call(id)
  local text = redis.call('HGET', KEYS[2], id)
  if text then
    if string.sub(text, 1, 1) == 'l' then return 'live', cmsgpack.unpack(string.sub(text, 2)) end
    local score = redis.call('ZSCORE', KEYS[4], id)
    if score and tonumber(score) > now then return 'ended', cmsgpack.unpack(string.sub(text, 2)) end
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[4], id)
    return nil
  end
  local score = redis.call('ZSCORE', KEYS[5], id)
  if score and tonumber(score) > now then return 'closed' end
  return nil
end

-- A call holds what `holds` says until its lease ends.
local function keep_call(id, holds, lease)
  local until_text = int(now + lease)
  redis.call('HSET', KEYS[2], id, 'l' .. cmsgpack.pack(holds))
  redis.call('ZADD', KEYS[3], until_text, id)
  if redis.call('ZCARD', KEYS[3]) > 1 then return end
  redis.call('PEXPIRE', KEYS[2], KEPT_MS)
  redis.call('PEXPIRE', KEYS[3], KEPT_MS)
  -- For the sweeper: it keeps an entry as long as there are leases, so only the first of them needs one.
  redis.call('ZADD', due_key(), 'NX', until_text, ARGV[2])
end

local function forget(zset, hash)
  local over = redis.call('ZRANGEBYSCORE', zset, '-inf', now_text, 'LIMIT', 0, LEASES_PER_STEP)
  if #over == 0 then return end
  redis.call('ZREM', zset, unpack(over))
  if hash then redis.call('HDEL', hash, unpack(over)) end
end

-- Remembers that a call was settled or released. In one of eight milliseconds some are forgotten whose time is over: more
-- than come meanwhile.
local function close(id, state)
  if state then redis.call('HDEL', KEYS[2], id) end
  if state == 'live' then redis.call('ZREM', KEYS[3], id) end
  if state == 'ended' then redis.call('ZREM', KEYS[4], id) end
  redis.call('ZADD', KEYS[5], int(now + CLOSED_KEPT_MS), id)
  redis.call('PEXPIRE', KEYS[5], KEPT_MS)
  if math.fmod(now, 8) == 0 then
    forget(KEYS[4], KEYS[2])
    forget(KEYS[5])
  end
end
