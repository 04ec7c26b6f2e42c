-- Raises what a quota has used to billing's sum; never lowers it. From then on its count is trusted.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 the counter, 4 used, 5 the ms at which the quota ends, 6 series or '', 7 and 8 what it had used and its mark when
-- that was asked for, or ''
-- Returns 1, or 0 where the counter is not as it was then

local written = { '@', '' }
local c = counter_of(ARGV[3], found[2], 'q', MAX, 0, tonumber(ARGV[5]))
local is_open = c.span > now
local is_other = ARGV[7] ~= '' and is_open and (c.used ~= tonumber(ARGV[7]) or c.extra ~= tonumber(ARGV[8]))
if not is_other then
  if ARGV[6] ~= '' then
    local known = rare().key_beside('known')
    call('HSETNX', known, ARGV[6], now)
    call('PEXPIRE', known, SERIES_KEPT_MS)
  end
  if is_open then
    c.used = math.max(c.used, tonumber(ARGV[4]))
    if math.fmod(c.extra, 2) == 0 then c.extra = c.extra + 1 end
    written[3], written[4] = ARGV[3], packed(c)
  end
end
write(written, #written)
return is_other and 0 or 1
