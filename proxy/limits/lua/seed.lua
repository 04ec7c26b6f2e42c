-- Raises what a quota has used to billing's sum; never lowers it. From then on its count is trusted.
--
-- KEYS 1-5: see common.lua; 6 the counter
-- ARGV 3 used, 4 the ms at which the quota ends, 5 series or '', 6 and 7 what it had used and its mark when that was
-- asked for, or ''
-- Returns 1, or 0 where the counter is not as it was then

local c = counter_of(KEYS[6], 'q', MAX, 0, tonumber(ARGV[4]))
if ARGV[6] ~= '' and c.span > now and (c.used ~= tonumber(ARGV[6]) or c.extra ~= tonumber(ARGV[7])) then return 0 end
if ARGV[5] ~= '' then
  local since = key_beside('since')
  redis.call('HSETNX', since, ARGV[5], int(now))
  redis.call('PEXPIRE', since, SERIES_KEPT_MS)
end
if c.span > now then
  c.used = math.max(c.used, tonumber(ARGV[3]))
  if math.fmod(c.extra, 2) == 0 then c.extra = c.extra + 1 end
  save_counter(KEYS[6], c)
end
return 1
