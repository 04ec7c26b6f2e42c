-- An event had been settled, and billing did not get it by way of its stream. Where these counters are not those that it
-- was settled in, what it used may be missing in them.
--
-- KEYS 1-5: see common.lua; 6 the hash of the shard's gateways; 7 and on: the counters
-- ARGV 3 id, 4 the ms when it was settled, 5 the field that says since when this store has what it has, then for each
-- counter the ms at which it ends
-- Returns 1 where that is so

-- Clocks of gateways and of the store differ by less.
local CLOCKS_MS = 60000

local state, holds = find_call(ARGV[3])
if state == 'closed' then return 0 end
local settled = tonumber(ARGV[4])
if not state and settled < now - CLOSED_KEPT_MS + CLOCKS_MS then
  local since = redis.call('HGET', KEYS[6], ARGV[5])
  if since and tonumber(since) + CLOCKS_MS < settled then return 0 end
end
give_back(state, holds)
close(ARGV[3], state)
for i = 7, #KEYS do
  doubt(KEYS[i], tonumber(ARGV[i - 1]))
end
return 1
