-- Appends a server's trial rows once, leaving out those whose rewards could no longer arrive.
--
-- call  EVALSHA sha 2  config log  writer sequence stride rows horizon_ms
-- keys  config  hash    missing: the store forgot the experiment, the answer is LOST; epoch: rows from before it are left
--                       out too, as they may be in the state that was brought back; w:writer: "sequence:time of its last
--                       append, ms", here so that one command writes it and the log's bytes
--       log     stream  t rows, s stride, k checksum
-- reply the number of rows left out; a sequence not above the writer's last changes nothing and answers 0

local DAY = 86400000
local TIME_OFFSET = 16 -- of the time field in a row (service/store/rows.py), int64

local writer = 'w:' .. ARGV[1]
local known = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'bytes', writer)
if not known[1] then return 'LOST' end
redis.call('XLEN', KEYS[2]) -- fails here, before any write, if it is no stream
local mark = known[4]
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

local marked = {writer, string.format('%s:%.0f', ARGV[2], now)}
if #rows > 0 then
  write(KEYS[1], KEYS[2], known[3], marked, 't', rows, 's', ARGV[3], 'k', seal('t' .. ARGV[3] .. ';;' .. rows))
else
  redis.call('HSET', KEYS[1], unpack(marked))
end
if not mark then -- a server has started: a good moment to forget those that are gone
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'w:' then
      local time = tonumber(string.match(fields[i + 1], ':(%d+)$'))
      if not time or time < now - DAY then redis.call('HDEL', KEYS[1], fields[i]) end
    end
  end
end
return dropped
