-- Whether a log has an entry: 1 or 0, not the entry, which may be long.
--
-- call  EVAL 1  log  id
-- keys  log  stream

return #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
