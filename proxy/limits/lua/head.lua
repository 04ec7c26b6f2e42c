-- First in every script of the limits, behind fields.lua or holds.lua: the clock, what the customer's state holds, and the leases that have ended.
-- decide.ts is the rule that these scripts say in Lua; redis-scripts.ts puts its constants before this part:
--   CLOSED_KEPT_MS, ENDED_KEPT_MS, LEASES_PER_STEP, KEPT_MS (how long keys outlive their last use), SERIES_KEPT_MS.
--
-- KEYS, the same two first in every script, in the customer's slot:
--   1 state    hash: '@' -> its head, three doubles: the highest clock reading that was seen for the customer, a time
--              before which no lease ends, and a time until which the state is kept for what its counters say;
--              '#' and an id -> a call that is live or whose lease ended, see rare.lua; every other field is a counter,
--              see counter.lua
--   2 times    zset: id of a call by the end of its lease; of one that is over, by when it is forgotten, in a band above
-- Most steps need no others. Those that do make these names, of the same hash tag and so of the same slot:
--   over       zset, all scores 0: names of counters that have used more than their limit allows, or had
--   known      hash: series -> the ms since when everything that it counts is counted here
--   due        zset of the whole shard: customer that has live calls, by an end of a lease among them
-- ARGV 1: '' for the clock of Redis; a clock in ms in tests only.
--
-- A script is run as a whole each time: what it costs are its calls of Redis, the functions and tables that it makes, and
-- the texts. So one call reads, one writes, and what is rare is made when it is needed (rare.lua).
-- Lua has doubles only: every sum stays below 2^53, where they are exact.

local MAX = 9007199254740991
local NEVER = MAX
-- Bands of the scores of times: ids of calls that were settled or released, ids of those whose lease ended.
local CLOSED, ENDED = 1e14, 2e14
local HOUR_MS = 3600000
local STATE, TIMES = KEYS[1], KEYS[2]
local call = redis.call

local clock_ms = tonumber(ARGV[1])
if not clock_ms then
  local time = call('TIME')
  clock_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The head, then the fields that the verb looks at.
local found = call('HMGET', STATE, unpack(fields))
local mark, first_end, quotas_end = 0, NEVER, 0
if found[1] then mark, first_end, quotas_end = struct.unpack('<ddd', found[1]) end
-- A clock that goes back stands still until it has caught up: nothing is refilled, ended or opened twice.
local now = clock_ms > mark and clock_ms or mark

-- Counters that were made in this step; how long the keys are kept is to be said.
local made, must_say_ends = 0, false

-- a / b, rounded up. math.fmod is exact, a floating division need not be.
local function ceil_divide(a, b)
  if a == 0 then return 0 end
  local rest = math.fmod(a, b)
  if rest > 0 then return (a - rest) / b + 1 end
  return a / b
end
