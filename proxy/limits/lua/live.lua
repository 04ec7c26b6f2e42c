-- Live calls by the end of their lease and their id, those behind a place in that order.
--
-- KEYS 1-5: see common.lua
-- ARGV 3 the end of the lease of the place or '-inf', 4 its id, 5 how many at most
-- Returns for each call: id, end of its lease, number of its holds, then key and amount of each

local from, after, most = ARGV[3], ARGV[4], tonumber(ARGV[5])
local answer, found, offset = {}, 0, 0
while found < most do
  local page = redis.call('ZRANGEBYSCORE', KEYS[3], from, '+inf', 'WITHSCORES', 'LIMIT', offset, most)
  for i = 1, #page, 2 do
    local id, score = page[i], page[i + 1]
    local packed = redis.call('HGET', KEYS[2], id)
    if found < most and packed and (score ~= from or id > after) then
      found = found + 1
      local holds = cmsgpack.unpack(string.sub(packed, 2))
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = id, score, int(#holds / 4)
      for j = 1, #holds, 4 do
        answer[#answer + 1], answer[#answer + 2] = holds[j], holds[j + 2]
      end
    end
  end
  offset = offset + most
  if #page < most * 2 then break end
end
return answer
