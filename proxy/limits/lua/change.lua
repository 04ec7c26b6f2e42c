-- Takes `given` out of what is held and adds `charge` to what is used, unsaved. A quota that has ended takes no more
-- entries: nil.
local function changed(c, given, charge)
  if c.kind == 'q' then
    if c.span <= now then return nil end
    local used = c.used + charge
    c.used = used < 0 and 0 or used > MAX and MAX or used
  elseif c.kind == 'r' then
    local level = leaked(c, c.limit) + charge * c.span
    c.used, c.at = level > MAX and MAX or level, now
  end
  local held = c.held - given
  c.held = held < 0 and 0 or held > MAX and MAX or held
  return c
end
