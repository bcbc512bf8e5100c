-- Marks an experiment as deleted on purpose and frees its name, unless the name is another's by now.
--
-- call  EVALSHA sha 2  names deleted  name uid
-- keys  names    hash  name -> uid
--       deleted  hash  uid -> time of its deletion, ms; forgotten after 30 days, when every server has seen it

local KEEP = 30 * 86400000
local LOOK = 20 -- old ones are looked for among so many, drawn at random: each deletion adds one, so few old ones stay

local clock = redis.call('TIME')
redis.call('HLEN', KEYS[1]) -- fails here, before any write, if it is no hash
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSETNX', KEYS[2], ARGV[2], string.format('%.0f', now))
local some = redis.call('HRANDFIELD', KEYS[2], LOOK, 'WITHVALUES')
for i = 1, #some, 2 do
  local time = tonumber(some[i + 1])
  if not time or time < now - KEEP then redis.call('HDEL', KEYS[2], some[i]) end
end
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 'OK'
