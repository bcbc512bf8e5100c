-- Begins every script: how entries are written, with the checksum that service/store/entries.py reads, the order of ids, and
-- commands with any number of arguments.
-- The checksum is there to find damage, not forgery: "1", its format, and 48 bits of SHA-1.

local function seal(text) return '1' .. string.sub(redis.sha1hex(text), 1, 12) end

local function below(a, b) -- whether stream id a comes before b
  local a_time, a_number = string.match(a, '^(%d+)%-(%d+)$')
  local b_time, b_number = string.match(b, '^(%d+)%-(%d+)$')
  a_time, b_time = tonumber(a_time), tonumber(b_time)
  return a_time < b_time or (a_time == b_time and tonumber(a_number) < tonumber(b_number))
end

local CHUNK = 6000 -- arguments of one command, below what Lua's stack takes (about 7,900)

local function chunked(command, key, from, to) -- the arguments ARGV[from..to], an even number a call
  for at = from, to, CHUNK do
    redis.call(command, key, unpack(ARGV, at, math.min(at + CHUNK - 1, to)))
  end
end

local BESIDE = 44 -- bytes that an engine keeps beside an entry's own, and those of n

-- Appends an entry to a log that had so many bytes written to it; its id, and how many it has had now. Each entry has that
-- number as n: so checkpoint.lua finds where to cut. The configuration gets the fields `also` in the same command: of a small
-- entry each command that writes is a sixth of the cost.
local function write(config, log, before, also, ...)
  before = before or '0'
  local after = tonumber(before) + BESIDE
  for i = 1, select('#', ...) do after = after + #select(i, ...) end
  redis.call('HSET', config, 'bytes', after, unpack(also))
  return redis.call('XADD', log, '*', 'n', before, ...), after
end
