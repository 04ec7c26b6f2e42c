-- A counter: counter.ts in Lua. Kinds of holds: 'a' rate counted at admission, 's' rate counted at settlement,
-- 'c' concurrency, 'q' quota. A counter is a packed text: kind ('r' rate, 'c', 'q'), then as doubles used, held, at,
-- limit, span, extra.
--   r: used is its level times the window, right at `at`; span the window in ms; extra the burst
--   c: only held says something; at is when it was changed last
--   q: at is the highest threshold that was reported; span the ms at which it ends; extra is its mark: 0 until it is known
--      that all that was used is in it, odd while that is known, even while it is in doubt; it only grows
-- (One text each: as digits it took half as long again.)

local PACKED = '<c1dddddd'

local function load_counter(text)
  if not text then return nil end
  local kind, used, held, at, limit, span, extra = struct.unpack(PACKED, text)
  return { kind = kind, used = used, held = held, at = at, limit = limit, span = span, extra = extra }
end

-- A counter as a hold finds it. A quota ends at the later of the ends that were named for it.
local function counter_of(name, text, kind, limit, burst, span)
  if kind == 'a' or kind == 's' then kind = 'r' end
  local c = load_counter(text)
  if not c then
    local q = kind == 'q'
    return {
      kind = kind, used = 0, held = 0, at = q and 0 or now, limit = limit, span = span, extra = q and 0 or burst,
      is_new = true,
    }
  end
  if c.kind ~= kind then error(name .. ' is of kind ' .. c.kind .. ', not ' .. kind) end
  if kind == 'q' then
    c.span = math.max(c.span, span)
  elseif kind == 'r' and c.span ~= span then
    error(name .. ' has another window')
  end
  return c
end

-- The text of a counter that is about to be written.
local function packed(c)
  if c.is_new then made = true end
  if c.kind == 'q' then
    -- The state is kept as long as the last of its quotas. Sessions end later with each call: said once an hour.
    if c.span > quotas_end then quotas_end, must_say_ends = c.span + HOUR_MS, true end
  elseif c.kind == 'c' then
    c.at = now
  end
  return struct.pack(PACKED, c.kind, c.used, c.held, c.at, c.limit, c.span, c.extra)
end

local function save_counter(name, c)
  local n = #written
  written[n + 1], written[n + 2] = name, packed(c)
end

-- The level of a rate now, leaked by `limit` per window since it was right. The product may pass 2^53 and lose digits
-- only where it is above every level.
local function leaked(c, limit)
  local level = c.used
  if level == 0 or now <= c.at then return level end
  return math.max(0, level - limit * (now - c.at))
end

-- A number as text: for steps that are rare, and where it is so large that readers of integers in replies lose its last
-- digits (the decoder of ioredis adds a digit before it takes the code of 0 away).
local LARGE = MAX - 1000
local function int(n)
  return string.format('%.0f', n)
end

-- What a counter says: used and held.
local function state_of(c)
  if not c or c.kind == 'q' and c.span <= now then return 0, 0 end
  if c.kind == 'r' then return ceil_divide(leaked(c, c.limit), c.span), c.held end
  return c.used, c.held
end

-- Takes `given` out of what is held and adds `charge` to what is used, unsaved. A quota that has ended takes no more
-- entries: nil.
local function changed(c, kind, given, charge)
  if kind == 'q' then
    if c.span <= now then return nil end
    c.used = math.min(math.max(0, c.used + charge), MAX)
  elseif kind ~= 'c' then
    c.used = math.min(leaked(c, c.limit) + charge * c.span, MAX)
    c.at = now
  end
  c.held = math.min(math.max(0, c.held - given), MAX)
  return c
end
