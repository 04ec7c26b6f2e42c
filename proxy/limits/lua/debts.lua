-- Counters that have used more than their limit allows, by name. Those that are paid by now are forgotten on the way.
--
-- KEYS 1-5: see common.lua
-- ARGV 3 '-', or '(' and the key after which to begin; 4 how many at most
-- Returns for each: key, limit, used

local from, most = ARGV[3], tonumber(ARGV[4])
local answer = {}
while #answer < most * 3 do
  local page = redis.call('ZRANGEBYLEX', key_beside('debts'), from, '+', 'LIMIT', 0, most - #answer / 3)
  for _, key in ipairs(page) do
    local c = load_counter(key)
    local used = c and state_of(c) or 0
    local limit = c and (c.kind == 'q' and c.limit or c.extra) or 0
    if used > limit then
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = key, int(limit), int(used)
    else
      redis.call('ZREM', key_beside('debts'), key)
    end
    from = '(' .. key
  end
  if #page == 0 then break end
end
return answer
