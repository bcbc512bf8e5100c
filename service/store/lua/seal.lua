-- Begins every script: the checksum of what is written, as service/store/entries.py reads it. It is there to find
-- damage, not forgery: "1", its format, and 48 bits of SHA-1.

local function seal(text) return '1' .. string.sub(redis.sha1hex(text), 1, 12) end

