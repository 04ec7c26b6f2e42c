-- Counters that have used more than their limit allows, by name. Those that are paid by now are forgotten on the way.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 '-', or '(' and the counter after which to begin; 4 how many at most
-- Returns for each: counter, limit, used

local book = rare()
local debts = book.key_beside('over')
local from, most = ARGV[3], tonumber(ARGV[4])
local answer = {}
while #answer < most * 3 do
  local page = call('ZRANGEBYLEX', debts, from, '+', 'LIMIT', 0, most - #answer / 3)
  for _, name in ipairs(page) do
    local c = book.load_counter(call('HGET', STATE, name))
    local used = book.state_of(c)
    local limit = c and (c.kind == 'q' and c.limit or c.extra) or 0
    if used > limit then
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = name, book.int(limit), book.int(used)
    else
      call('ZREM', debts, name)
    end
    from = '(' .. name
  end
  if #page == 0 then break end
end
write({}, 2)
return answer
