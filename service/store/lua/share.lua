-- Keeps the state that one server has added up, for the others to load, until `lease` ms have passed without another.
-- The key is the lease too: while it is there only its owner writes it, and nobody else adds up.
--
-- call  EVAL script 3  config log state  owner lease stored  id base rows size digest - - - n removed*n (field value)*
-- keys  config  hash    missing: the store forgot the experiment
--       log     stream
--       state   hash    owner, stored, and as in checkpoint.lua: id, rows, size, digest, check, and the fields "f:..."
-- args  stored  "id:rows:size" of the checkpoint that stands; from id on as in checkpoint.lua
-- reply TAKEN | OTHER (another server adds up) | STALE (another base is there, or the log has no such entry)

local key, owner, id, base, removals = KEYS[3], ARGV[1], ARGV[4], ARGV[5], tonumber(ARGV[12])
local kept = redis.call('HMGET', key, 'owner', 'id')
if kept[1] and kept[1] ~= owner then return 'OTHER' end
if redis.call('EXISTS', KEYS[1]) == 0 or #redis.call('XRANGE', KEYS[2], id, id) == 0 then return 'STALE' end
if base ~= '' and base ~= kept[2] then return 'STALE' end

local clock = redis.call('TIME')
if base == '' then redis.call('UNLINK', key) end
redis.call('HSET', key, 'owner', owner, 'stored', ARGV[3], 'id', id, 'rows', ARGV[6], 'size', ARGV[7], 'digest', ARGV[8])
redis.call('PEXPIREAT', key, string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[2])))
redis.call('HSET', key, 'check', seal(table.concat({id, ARGV[6], ARGV[7], ARGV[8]}, ':')))
chunked('HDEL', key, 13, 12 + removals)
chunked('HSET', key, 13 + removals, #ARGV)
return 'TAKEN'
