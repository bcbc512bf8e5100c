-- Writes a configuration if the stored version is the expected one, and appends it to the log.
--
-- call  EVALSHA sha 3  config history log  version expected record history_length since
-- keys  config   hash    version, record, `deleting` once a deletion has begun, and `needs`: the last entry that needs
--                        what the log had before it; bytes, as written to the log so far
--       history  hash    version -> record, the newest ones
--       log      stream  c record, k checksum
-- reply OK | SAME (this very write was already made) | LOST (an update of nothing) | CONFLICT <stored version>

local version, expected, record = ARGV[1], ARGV[2], ARGV[3]
local stored = redis.call('HMGET', KEYS[1], 'version', 'record', 'deleting', 'bytes')
if not stored[1] then
  if expected ~= '0' then return 'LOST' end
elseif stored[3] then
  return 'CONFLICT ' .. stored[1]
elseif stored[1] == version and stored[2] == record then
  return 'SAME'
elseif stored[1] ~= expected then
  return 'CONFLICT ' .. stored[1]
end
if ARGV[5] ~= '' then -- the log must have everything from this id on
  local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  if not first or below(ARGV[5], first[1]) then return 'CONFLICT ' .. (stored[1] or '0') end
end
redis.call('XLEN', KEYS[3]) -- fails here, before any write, if it is no stream
redis.call('HLEN', KEYS[2])

redis.call('HSET', KEYS[1], 'version', version, 'record', record)
redis.call('HSET', KEYS[2], version, record)
local excess = redis.call('HLEN', KEYS[2]) - tonumber(ARGV[4])
if excess > 0 then
  local versions = redis.call('HKEYS', KEYS[2])
  table.sort(versions, function(a, b) return tonumber(a) < tonumber(b) end)
  for i = 1, excess do redis.call('HDEL', KEYS[2], versions[i]) end
end
local id = write(KEYS[1], KEYS[3], stored[4], {}, 'c', record, 'k', seal('c;;' .. record))
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'needs', id) end
return 'OK'
