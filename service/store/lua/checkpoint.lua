-- Stores a checkpoint if it stands on the stored one, then trims the log behind the checkpoint before it.
--
-- call  EVALSHA sha 3+o  config log checkpoint older*o  id base rows size digest keep_ms heal most n removed*n (field value)*
-- keys  config      hash    missing: the store forgot the experiment, the answer is LOST; needs, as in put.lua
--       log         stream
--       checkpoint  hash    id, previous (the id before), rows, size, digest, check (of these four), diverged (the other
--                           digest, if ever two readers differed), and the state as fields named "f:..."
--       older       hash    checkpoints of formats before: each goes once the log no longer goes on from it
-- args  base "" replaces everything; it may be used when nothing, or an older checkpoint, is stored
--       most: so many bytes of log at the most, keep_ms or not; 0: any number
--       heal 1: what is stored is no good; replace it whole, wherever it stands, and trim nothing
-- reply STORED | SAME | DIVERGED | STALE

local LEAST = 10000 -- entries that may be trimmed at once
local id, base, digest, keep, heal = ARGV[1], ARGV[2], ARGV[5], ARGV[6], ARGV[7] == '1'
local most, removals = tonumber(ARGV[8]), tonumber(ARGV[9])
local log, key = KEYS[2], KEYS[3]

-- How many bytes were written before the first entry from a time on; a version that did not count wrote none.
local function before(time)
  local fields = redis.call('XRANGE', log, string.format('%.0f-0', time), '+', 'COUNT', 1)[1][2]
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then return tonumber(fields[i + 1]) end
  end
  return 0
end

-- Where the newest `most` bytes of the log begin, to the millisecond; where `last` does, if that is earlier.
local function fitting(last)
  local gone = tonumber(redis.call('HGET', KEYS[1], 'bytes') or 0) - most
  if gone <= 0 then return '0-0' end
  local from = tonumber(string.match(redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1][1], '^%d+'))
  local to = tonumber(string.match(last, '^%d+'))
  while from < to do
    local half = math.floor((from + to) / 2)
    if before(half) < gone then from = half + 1 else to = half end
  end
  return string.format('%.0f-0', from)
end

if redis.call('EXISTS', KEYS[1]) == 0 then return 'LOST' end
if #redis.call('XRANGE', log, id, id) == 0 then return 'STALE' end
local previous, entries
if heal then
  if redis.call('TYPE', key).ok ~= 'hash' then redis.call('UNLINK', key) end
else
  local stored = redis.call('HMGET', key, 'id', 'digest', 'diverged', 'rows')
  previous = stored[1]
  entries = math.max(0, tonumber(ARGV[3]) - tonumber(stored[4] or 0)) -- that came since, at the most
  if stored[3] then return 'DIVERGED' end
  if previous == id then
    if stored[2] == digest then return 'SAME' end
    redis.call('HSET', key, 'diverged', digest)
    return 'DIVERGED'
  end
  if base ~= '' and base ~= previous then return 'STALE' end
  if previous and not below(previous, id) then return 'STALE' end
end

-- The first write is one that a full store refuses; after it nothing is refused.
redis.call('HSET', key, 'id', id)
if base == '' then redis.call('UNLINK', key) end
redis.call('HSET', key, 'id', id, 'previous', previous or '', 'rows', ARGV[3], 'size', ARGV[4], 'digest', digest)
redis.call('HSET', key, 'check', seal(table.concat({id, ARGV[3], ARGV[4], digest}, ':')))
chunked('HDEL', key, 10, 9 + removals)
chunked('HSET', key, 10 + removals, #ARGV)
local needs = redis.call('HGET', KEYS[1], 'needs')
if previous and not (needs and below(id, needs)) then
  local oldest = keep .. '-0'
  local cut = most > 0 and fitting(previous) or oldest
  if below(oldest, cut) then oldest = cut end
  -- "~" trims whole nodes and a bounded number of entries: never more than asked, never for long, yet faster than they come.
  local limit = string.format('%.0f', LEAST + 2 * entries)
  redis.call('XTRIM', log, 'MINID', '~', below(previous, oldest) and previous or oldest, 'LIMIT', limit)
  for i = 4, #KEYS do
    local at = redis.call('HGET', KEYS[i], 'id')
    if at and #redis.call('XRANGE', log, at, at) == 0 then redis.call('UNLINK', KEYS[i]) end
  end
end
return 'STORED'
