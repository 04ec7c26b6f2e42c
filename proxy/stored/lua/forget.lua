-- A call is settled: for a while that much is known of it. KEYS 1 the call, 2 looks. ARGV member of looks, for how long
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], 'text', 'closing')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
