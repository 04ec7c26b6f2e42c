-- An event had been settled, and billing did not get it by way of its stream. Where these counters are not those that it
-- was settled in, what it used may be missing in them.
--
-- KEYS 1-2: see head.lua; 3 the hash of the shard's gateways
-- ARGV 3 '#' and the id; then the counters; then the ms when it was settled, the field that says since when this store has
-- what it has, then for each counter the ms at which it ends
-- Returns 1 where that is so

-- Clocks of gateways and of the store differ by less.
local CLOCKS_MS = 60000

local book = rare()
local counters = ARGV[2] - 1
local id = string.sub(ARGV[3], 2)
local state = book.find_call(id, found[2])
local is_settled = state == 'closed'
local settled = tonumber(ARGV[4 + counters])
if not state and settled < now - CLOSED_KEPT_MS + CLOCKS_MS then
  local since = call('HGET', KEYS[3], ARGV[5 + counters])
  is_settled = since and tonumber(since) + CLOCKS_MS < settled
end
local written = { '@', '' }
if not is_settled then
  book.give_back(state, found[2])
  close(id, state)
  for i = 1, counters do
    local c = book.doubted(ARGV[3 + i], found[2 + i], tonumber(ARGV[5 + counters + i]))
    if c then written[#written + 1], written[#written + 2] = ARGV[3 + i], packed(c) end
  end
end
write(written, #written)
return is_settled and 0 or 1
