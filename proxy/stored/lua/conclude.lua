-- The closing that counts: the first. KEYS 1 the call. ARGV a closing. Nothing where the call is settled, or unknown
if redis.call('HEXISTS', KEYS[1], 'text') == 0 then return false end
redis.call('HSETNX', KEYS[1], 'closing', ARGV[1])
return redis.call('HGET', KEYS[1], 'closing')
