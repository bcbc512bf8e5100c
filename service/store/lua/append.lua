-- Appends a server's trial rows once, leaving out those whose rewards could no longer arrive.
--
-- call  EVALSHA sha 3  config log watermarks  writer sequence stride rows horizon_ms
-- keys  config      hash    missing: the store forgot the experiment, the answer is LOST; epoch: rows from before it
--                           are left out too, as they may be in the state that was brought back
--       log         stream  t rows, s stride, k checksum
--       watermarks  hash    writer -> "sequence:time of its last append, ms"
-- reply the number of rows left out; a sequence not above the writer's last changes nothing and answers 0

local DAY = 86400000
local TIME_OFFSET = 16 -- of the time field in a row (service/store/rows.py), int64

local known = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'bytes')
if not known[1] then return 'LOST' end
redis.call('XLEN', KEYS[2]) -- fails here, before any write, if it is no stream
local mark = redis.call('HGET', KEYS[3], ARGV[1])
if mark and tonumber(string.match(mark, '^%d+')) >= tonumber(ARGV[2]) then return 0 end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stride, rows, oldest = tonumber(ARGV[3]), ARGV[4], math.max(now - tonumber(ARGV[5]), tonumber(known[2] or 0))
local kept, dropped = {}, 0
for at = 1, #rows, stride do
  if struct.unpack('<i8', rows, at + TIME_OFFSET) < oldest then
    dropped = dropped + 1
  else
    kept[#kept + 1] = string.sub(rows, at, at + stride - 1)
  end
end
if dropped > 0 then rows = table.concat(kept) end

if #rows > 0 then write(KEYS[1], KEYS[2], known[3], 't', rows, 's', ARGV[3], 'k', seal('t' .. ARGV[3] .. ';;' .. rows)) end
redis.call('HSET', KEYS[3], ARGV[1], string.format('%s:%.0f', ARGV[2], now))
if not mark then -- a server has started: a good moment to forget those that are gone
  local marks = redis.call('HGETALL', KEYS[3])
  for i = 1, #marks, 2 do
    local time = tonumber(string.match(marks[i + 1], ':(%d+)$'))
    if not time or time < now - DAY then redis.call('HDEL', KEYS[3], marks[i]) end
  end
end
return dropped
