-- Begins every script: the checksum of what is written, as service/store/entries.py reads it, and the order of stream ids.
-- The checksum is there to find damage, not forgery: "1", its format, and 48 bits of SHA-1.

local function seal(text) return '1' .. string.sub(redis.sha1hex(text), 1, 12) end

local function below(a, b) -- whether stream id a comes before b
  local a_time, a_number = string.match(a, '^(%d+)%-(%d+)$')
  local b_time, b_number = string.match(b, '^(%d+)%-(%d+)$')
  a_time, b_time = tonumber(a_time), tonumber(b_time)
  return a_time < b_time or (a_time == b_time and tonumber(a_number) < tonumber(b_number))
end
