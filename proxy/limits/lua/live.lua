-- Live calls by the end of their lease and their id, those behind a place in that order.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 the end of the lease of the place or '-inf', 4 its id, 5 how many at most
-- Returns for each call: id, end of its lease, number of its holds, then counter and amount of each

local book = rare()
local from, after, most = ARGV[3], ARGV[4], tonumber(ARGV[5])
local answer, count, offset = {}, 0, 0
while count < most do
  local page = call('ZRANGEBYSCORE', TIMES, from, '(' .. CLOSED, 'WITHSCORES', 'LIMIT', offset, most)
  for i = 1, #page, 2 do
    local id, score = page[i], tonumber(page[i + 1])
    local text = call('HGET', STATE, '#' .. id)
    if count < most and text and (score ~= tonumber(from) or id > after) then
      count = count + 1
      local holds = book.holds_of(text)
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = id, book.int(score), book.int(#holds)
      for _, hold in ipairs(holds) do
        answer[#answer + 1], answer[#answer + 2] = hold.name, book.int(hold.amount)
      end
    end
  end
  offset = offset + most
  if #page < most * 2 then break end
end
write({}, 2)
return answer
