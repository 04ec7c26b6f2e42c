-- Ends leases of a customer for which nobody calls: the head of every script has done so. Keeps the shard's list of
-- customers that have live calls.
--
-- KEYS 1-5: see common.lua
-- Returns how many leases have ended

local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if #first == 0 then
  redis.call('ZREM', due_key(), ARGV[2])
else
  redis.call('ZADD', due_key(), first[2], ARGV[2])
end
return #leases_ended
