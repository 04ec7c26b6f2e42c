-- Keeps a call that is open, once. KEYS 1 the call, 2 looks (claim.lua). ARGV at, text, first look, member of looks
if redis.call('HSETNX', KEYS[1], 'at', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'text', ARGV[2])
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
end
return 1
