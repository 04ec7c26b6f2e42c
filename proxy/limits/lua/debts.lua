-- Counters that have used more than their limit allows, by name. Those that are paid by now are forgotten on the way.
--
-- KEYS 1-2: see head.lua
-- ARGV 3 '-', or '(' and the counter after which to begin; 4 how many at most
-- Returns where to go on, or '' where that is all that was asked for; then for each: counter, limit, used

-- A step looks at so many, paid or not: others wait for it.
local LOOKED = 1000

local book = rare()
local debts = book.key_beside('over')
local from, most = ARGV[3], tonumber(ARGV[4])
local answer, count, looked = { '' }, 0, 0
repeat
  local page = call('ZRANGEBYLEX', debts, from, '+', 'LIMIT', 0, math.min(most - count, LOOKED - looked))
  for _, name in ipairs(page) do
    local c = book.load_counter(call('HGET', STATE, name))
    local used = book.state_of(c)
    local limit = c and (c.kind == 'q' and c.limit or c.extra) or 0
    if used > limit then
      count = count + 1
      answer[count * 3 - 1], answer[count * 3], answer[count * 3 + 1] = name, book.int(limit), book.int(used)
    else
      call('ZREM', debts, name)
    end
    from = '(' .. name
  end
  looked = looked + #page
until #page == 0 or count == most or looked == LOOKED
if looked == LOOKED and count < most then answer[1] = from end
write({}, 2)
return answer
