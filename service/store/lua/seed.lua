-- Brings an experiment back in one step, where nothing of it stands: configuration, log and checkpoint.
--
-- call  EVALSHA sha 5+o  config history log checkpoint staged other*o  version record epoch bytes rows size digest (field value)*
-- keys  config      hash    version, record, epoch: decisions from before it are over, as their claims are gone
--       history     hash    version -> record
--       log         stream  c record, b 1: what this configuration stands on is in the checkpoint, k checksum
--       checkpoint  hash    as in checkpoint.lua, at that entry
--       staged      stream  becomes the log first, if it is there; it has so many bytes
--       other       hash    checkpoints of other formats: they go
-- reply OK | SAME (this very write was already made) | CONFLICT (something is there)

local version, record, epoch, rows, size, digest = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[5], ARGV[6], ARGV[7]

if redis.call('EXISTS', KEYS[1], KEYS[3]) > 0 then
  local stored = redis.call('HMGET', KEYS[1], 'version', 'record', 'epoch')
  local same = stored[1] == version and stored[2] == record and stored[3]
  if same and redis.call('HGET', KEYS[4], 'digest') == digest then return 'SAME' end
  return 'CONFLICT'
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The first write is one that a full store refuses; after it nothing is refused.
redis.call('HSET', KEYS[1], 'version', version, 'record', record, 'epoch', string.format('%.0f', math.max(now, epoch)), 'bytes', ARGV[4])
redis.call('UNLINK', KEYS[2], KEYS[4], unpack(KEYS, 6))
redis.call('HSET', KEYS[2], version, record)
if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('RENAME', KEYS[5], KEYS[3]) end
local id = write(KEYS[1], KEYS[3], ARGV[4], {}, 'c', record, 'b', '1', 'k', seal('c;1;' .. record))
local check = seal(table.concat({id, rows, size, digest}, ':'))
redis.call('HSET', KEYS[4], 'id', id, 'previous', '', 'rows', rows, 'size', size, 'digest', digest, 'check', check)
chunked('HSET', KEYS[4], 8, #ARGV)
return 'OK'
