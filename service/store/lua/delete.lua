-- Begins a deletion: from here on no configuration can be written, so that the steps after it cannot be overtaken.
--
-- call  EVALSHA sha 1  config  expected
-- keys  config  hash  version, record, deleting
-- reply OK | GONE (no configuration) | CONFLICT <stored version>

local version = redis.call('HGET', KEYS[1], 'version')
if not version then return 'GONE' end
if version ~= ARGV[1] then return 'CONFLICT ' .. version end
redis.call('HSET', KEYS[1], 'deleting', '1')
return 'OK'
