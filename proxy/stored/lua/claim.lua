-- Calls of a shard that are to be looked at, each due again after a share of its age.
--
-- KEYS 1 looks  zset of the shard: 'id customer' by the ms of the next look
-- ARGV now, how many, share of the age, the least and the most between two looks
-- A call is a hash of the same slot, '<before looks><customer>:open:<id>': at, text, closing.
-- Answers text, closing or '', ...

local now, share, least, most = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local before = string.sub(KEYS[1], 1, -6)
local answer = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local id, customer = string.match(member, '^(%S+) (.*)$')
  local call = redis.call('HMGET', before .. customer .. ':open:' .. id, 'at', 'text', 'closing')
  if call[2] then
    local wait = math.max(least, math.min(most, math.floor((now - tonumber(call[1])) / share)))
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + wait), member)
    answer[#answer + 1] = call[2]
    answer[#answer + 1] = call[3] or ''
  else
    redis.call('ZREM', KEYS[1], member)
  end
end
return answer
