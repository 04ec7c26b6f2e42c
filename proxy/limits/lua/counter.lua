-- A counter: counter.ts in Lua. Kinds of holds: 'a' rate counted at admission, 's' rate counted at settlement,
-- 'c' concurrency, 'q' quota. A counter is a packed text: kind ('r' rate, 'c', 'q'), then as doubles used, held, at,
-- limit, span, extra.
--   r: used is its level times the window, right at `at`; span the window in ms; extra the burst
--   c: only held says something; at is when it was changed last
--   q: at is the highest threshold that was reported; span the ms at which it ends; extra is its mark: 0 until it is known
--      that all that was used is in it, odd while that is known, even while it is in doubt; it only grows
-- (One text each: as digits it took half as long again.)

-- A counter as a hold finds it. A quota ends at the later of the ends that were named for it; one that has ended by then
-- and is named with a later end begins anew.
local function counter_of(name, text, kind, limit, burst, span)
  if kind == 'a' or kind == 's' then kind = 'r' end
  local q = kind == 'q'
  if not text then
    return {
      kind = kind, used = 0, held = 0, at = q and 0 or now, limit = limit, span = span, extra = q and 0 or burst,
      is_new = true,
    }
  end
  local had, used, held, at, bound, ends, extra = struct.unpack('<c1dddddd', text)
  if had ~= kind then error(name .. ' is of kind ' .. had .. ', not ' .. kind) end
  if q then
    if ends > span then
      span = ends
    elseif ends <= now and now < span then
      return { kind = kind, used = 0, held = 0, at = 0, limit = limit, span = span, extra = 0 }
    end
  elseif kind == 'r' and ends ~= span then
    error(name .. ' has another window')
  end
  return { kind = kind, used = used, held = held, at = at, limit = bound, span = span, extra = extra }
end

-- The text of a counter that is about to be written.
local function packed(c)
  if c.is_new then made = made + 1 end
  if c.kind == 'q' then
    -- The state is kept as long as the last of its quotas. Sessions end later with each call: said once an hour.
    if c.span > quotas_end then quotas_end, must_say_ends = c.span + HOUR_MS, true end
  elseif c.kind == 'c' then
    c.at = now
  elseif c.used > c.limit * KEPT_MS and c.limit > 0 then
    -- Likewise a rate that leaks for longer than keys are kept: a large burst of a small limit, or a debt.
    local ends = now + ceil_divide(c.used, c.limit)
    if ends > quotas_end then quotas_end, must_say_ends = ends + HOUR_MS, true end
  end
  return struct.pack('<c1dddddd', c.kind, c.used, c.held, c.at, c.limit, c.span, c.extra)
end

-- The level of a rate now, leaked by its limit per window since it was right. The product may pass 2^53 and lose digits
-- only where it is above every level.
local function leaked(c, limit)
  local level = c.used
  if level == 0 or now <= c.at then return level end
  level = level - limit * (now - c.at)
  return level > 0 and level or 0
end
