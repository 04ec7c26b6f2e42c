-- Ends leases of a customer for which nobody calls: the head of every script has done so. Drops what its counters do not
-- say any more. Keeps the shard's list of customers that have live calls, or still much to be dropped.
--
-- KEYS 1-2: see head.lua
-- Returns how many leases have ended

-- Fields of the state that are drawn, where it has as many.
local SWEPT = 256

local book = rare()
local due = book.key_of_shard('due')
local is_large = first_end == NEVER and call('HLEN', STATE) > SWEPT
if is_large then book.tidy(SWEPT) end
write({}, 2)
if first_end < NEVER then
  call('ZADD', due, first_end, book.customer())
elseif is_large then
  call('ZADD', due, now + HOUR_MS, book.customer())
else
  call('ZREM', due, book.customer())
end
return leases_ended
