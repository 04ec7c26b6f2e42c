-- What was used may be missing in a quota: it is not known until it is seeded again.
local function doubt(name, text, span)
  local c = counter_of(name, text, 'q', MAX, 0, span)
  if c.span <= now then return end
  c.extra = math.max(c.extra, 1)
  c.extra = c.extra + 1 + math.fmod(c.extra + 1, 2)
  save_counter(name, c)
end
