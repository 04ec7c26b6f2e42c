-- Before reserve.lua and extend.lua, which are followed by hold-all.lua: a call that holds amounts against every limit, all
-- of them or none.
--
-- KEYS 1-2: see head.lua
-- ARGV 2-3: see holds.lua; 4 the lease in ms. What else is to be said of a hold:
--   of a rate its burst; 's' before where it is soft
--   of a quota: 's' where it is soft, its currency, its thresholds with commas between; then, where it has a series,
--   '|', the ms at which its period began, '|', the series
-- Answers { 1 or 0, then for each hold: used, held, and 0 where it fits, the ms to wait where it does not, -1 where time
-- alone does not help; then how many are unknown, these; then thresholds: place, threshold, ... }, places from 0, as
-- integers, or all as text

local lease = tonumber(ARGV[4])
-- Numbers that are so large that readers of integers lose their last digits: ioredis adds a digit before it takes the code
-- of 0 away.
local LARGE = MAX - 1000

-- The answer about a call for which nothing is held now.
local function answer_as_it_is(first)
  write({}, 2)
  local book = rare()
  local answer = { book.int(first) }
  for i = 1, hold_count do
    local used, held = book.state_of(book.load_counter(found[2 + i]))
    answer[i * 3 - 1], answer[i * 3], answer[i * 3 + 1] = book.int(used), book.int(held), '0'
  end
  answer[hold_count * 3 + 2] = '0'
  return answer
end
