-- Marks an experiment as deleted on purpose and frees its name, unless the name is another's by now.
--
-- call  EVALSHA sha 2  names deleted  name uid
-- keys  names    hash  name -> uid
--       deleted  hash  uid -> time of its deletion, ms

local clock = redis.call('TIME')
redis.call('HLEN', KEYS[1]) -- fails here, before any write, if it is no hash
redis.call('HSETNX', KEYS[2], ARGV[2], string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000)))
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 'OK'
