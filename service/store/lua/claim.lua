-- Counts each claim once and appends what changed, in one step (service/store/claims.py is the same in Python).
--
-- call  EVALSHA sha 2+s+d  config log shard*s overflow*d  stride rows claims decisions
-- keys  config    hash    missing: the store forgot the experiment, the answer is LOST; epoch: decisions from before
--                         it are LATE, because their claims are gone and may have been counted
--       log       stream  r rows, s stride, o "old:new:exposes,...", k checksum | l late rows, s stride, k checksum
--       shard     hash    the low byte of a decision's counter -> its claim (kept listpack: values of at most 64 bytes)
--       overflow  string  the claim of one decision that outgrew 64 bytes; its field in the shard then says ">"
-- args  rows       packed reward rows of `stride` bytes, one per claim
--       claims     48 bytes each: decision, metric, aggregate, deferred, value, limit, deadline, expires, digest
--       decisions  8 bytes each: number of the shard, field; the n-th decision has the n-th overflow key
-- reply outcomes (service/store/contract.py), one per claim
--
-- A claim is "<exposed>;<metric>:<total>:<digests>;..." with eight characters a digest. Lua does not roll back:
-- everything that can fail (types, totals) is read and judged first; writing begins with a command that
-- a full store refuses, and once a script has written, the engine refuses it nothing more.

local APPLIED, DUPLICATE, LATE, TOO_MANY, OUT_OF_RANGE = 1, 2, 3, -1, -2
local FIRST, SUM, MAX = 0, 1, 3
local NO_METRIC, MAX_EVENTS, EXACT, INLINE = 65535, 64, 9007199254740992, 64
local TIME = 17 -- of the decision in a row (service/store/rows.py), int64, counted from 1
local GRAIN = 600000 -- expiries are rounded up to 10 minutes, so that a busy shard is not extended at every claim

local known = redis.call('HMGET', KEYS[1], 'version', 'epoch')
if not known[1] then return 'LOST' end
local epoch = tonumber(known[2] or 0)
redis.call('XLEN', KEYS[2]) -- fails here if it is no stream
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stride, rows, claims, decisions = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local first_overflow = #KEYS - #decisions / 8

local function parse(text)
  local tally = {exposed = string.byte(text, 1) == 49}
  for metric, total, events in string.gmatch(text, ';(%d+):(%-?%d+):([^;]*)') do
    tally[#tally + 1] = {metric = tonumber(metric), total = tonumber(total), events = events}
  end
  return tally
end

local function format(tally)
  local parts = {tally.exposed and '1' or '0'}
  for i, record in ipairs(tally) do
    parts[i + 1] = string.format('%d:%.0f:%s', record.metric, record.total, record.events)
  end
  return table.concat(parts, ';')
end

local tallies = {}

local left = {} -- shard -> milliseconds it has left, negative if it does not exist or never expires

local function load(number)
  local shard, field = struct.unpack('<I4I4', decisions, number * 8 + 1)
  local key = KEYS[3 + shard]
  local life = left[shard] or redis.call('PTTL', key)
  left[shard] = life
  local text = life ~= -2 and redis.call('HGET', key, field)
  local overflows = text == '>'
  -- An overflow key lives as long as its claims: one that is gone has been forgotten on purpose.
  if overflows then text = redis.call('GET', KEYS[first_overflow + 1 + number]) end
  local tally = text and parse(text) or {}
  tally.shard, tally.field, tally.overflows, tally.expires = shard, field, overflows, 0
  tallies[number] = tally
  return tally
end

local function knows(events, digest)
  local at = string.find(events, digest, 1, true)
  while at and at % 8 ~= 1 do at = string.find(events, digest, at + 1, true) end
  return at ~= nil
end

-- Outcome, old total, new total of a reward; remembers it when applied.
local function reward(tally, metric, aggregate, value, limit, digest)
  local record
  for i = 1, #tally do
    if tally[i].metric == metric then record = tally[i] end
  end
  if record and (aggregate == FIRST or knows(record.events, digest)) then return DUPLICATE end
  if record and #record.events >= 8 * MAX_EVENTS then return TOO_MANY end
  local old, new = record and record.total or 0, value
  if aggregate == SUM then new = old + value end
  if aggregate == MAX and record then new = math.max(old, value) end
  if math.abs(new) > limit or math.abs(value) >= EXACT then return OUT_OF_RANGE end
  if not record then
    record = {metric = metric, events = ''}
    tally[#tally + 1] = record
  end
  record.total = new
  if aggregate ~= FIRST then record.events = record.events .. digest end
  return APPLIED, old, new
end

-- Judge all.
local outcomes, applied, totals, late, changed = {}, {}, {}, {}, {}
for i = 1, #claims / 48 do
  local number, metric, aggregate, deferred, value, limit, deadline, expires, digest =
    struct.unpack('<I4I2BBi8i8i8i8c8', claims, i * 48 - 47)
  local outcome, old, new
  if now > deadline or (epoch > 0 and struct.unpack('<i8', rows, (i - 1) * stride + TIME) < epoch) then
    outcome = LATE
    late[#late + 1] = i
  else
    local tally = tallies[number] or load(number)
    local exposes = deferred == 1 and not tally.exposed
    if metric == NO_METRIC then
      outcome, old, new = exposes and APPLIED or DUPLICATE, 0, 0
    else
      outcome, old, new = reward(tally, metric, aggregate, value, limit, digest)
    end
    if outcome == APPLIED then
      if exposes then tally.exposed = true end
      if not tally.changed then changed[#changed + 1] = number end
      tally.changed = true
      if expires > tally.expires then tally.expires = expires end
      applied[#applied + 1] = i
      totals[#totals + 1] = string.format('%.0f:%.0f:%d', old, new, exposes and 1 or 0)
    end
  end
  outcomes[i] = outcome
end

-- Write all.
local function rows_of(list)
  if #list == #outcomes then return rows end
  local chosen = {}
  for n, i in ipairs(list) do chosen[n] = string.sub(rows, (i - 1) * stride + 1, i * stride) end
  return table.concat(chosen)
end

local function outlive(key, life, expires)
  local want = math.ceil(expires / GRAIN) * GRAIN
  -- Both are multiples of the grain, so less than a second apart is equal.
  if life < 0 or now + life + 1000 < want then redis.call('PEXPIREAT', key, string.format('%.0f', want)) end
end

local writes, lives = {}, {}
for _, number in ipairs(changed) do
  local tally = tallies[number]
  local shard, text = tally.shard, format(tally)
  local write = writes[shard]
  if not write then
    write = {KEYS[3 + shard]}
    writes[shard], lives[shard] = write, 0
  end
  if tally.expires > lives[shard] then lives[shard] = tally.expires end
  if #text > INLINE then
    local key = KEYS[first_overflow + 1 + number]
    redis.call('SET', key, text, 'KEEPTTL')
    outlive(key, redis.call('PTTL', key), tally.expires)
    text = '>'
  end
  if not (text == '>' and tally.overflows) then
    write[#write + 1] = tally.field
    write[#write + 1] = text
  end
end
for shard, write in pairs(writes) do
  if #write > 1 then redis.call('HSET', unpack(write)) end -- a shard has 256 fields: far from Lua's stack limit
  outlive(write[1], left[shard], lives[shard])
end
if #applied > 0 then
  local data, told = rows_of(applied), table.concat(totals, ',')
  local check = seal('r' .. ARGV[1] .. ';' .. told .. ';' .. data)
  redis.call('XADD', KEYS[2], '*', 'r', data, 's', ARGV[1], 'o', told, 'k', check)
end
if #late > 0 then
  local data = rows_of(late)
  redis.call('XADD', KEYS[2], '*', 'l', data, 's', ARGV[1], 'k', seal('l' .. ARGV[1] .. ';;' .. data))
end
return outcomes
