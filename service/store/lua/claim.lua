-- Counts each claim once and appends what changed, in one step (service/store/claims.py is the same in Python).
--
-- call  EVALSHA sha 2+s+d  config log shard*s overflow*d  stride rows claims decisions composites
-- keys  config    hash    missing: the store forgot the experiment, the answer is LOST; epoch: decisions from before
--                         it are LATE, because their claims are gone and may have been counted
--       log       stream  r rows, s stride, o "old:new:exposes,...", k checksum | l late rows, s stride, k checksum
--       shard     hash    the low byte of a decision's counter -> its claim (kept listpack: values of at most 64 bytes)
--       overflow  string  the claim of one decision that outgrew 64 bytes; its field in the shard then says ">"
-- args  rows       packed reward rows of `stride` bytes, one per claim
--       claims     50 bytes each: decision, metric, aggregate, flags, value, limit, deadline, expires, digest, composites
--                  flags: 1 deferred, 2 take the event back, 4 forget a row of history, 8 a sum stops at 0
--                  composites: bit n for the n-th of them that the metric is part of
--       decisions  8 bytes each: number of the shard, field; the n-th decision has the n-th overflow key
--       composites "metric:part=weight,...;...": metrics that are sums of others; each that a claim moves has a row behind its
-- reply outcomes (service/store/contract.py), one per claim
--
-- A claim is "<exposed>;<metric>:<total>:<digests>;..." with eight characters a digest. Behind a metric may stand
-- ";<metric + 65536>:0:<values>", of its events, where they do not follow from the total, and ";<metric + 131072>:0:
-- <digests>", of the events that were taken back. `first` has no digest for an event without a name, and had none for any
-- before. Lua does not roll back: everything that can fail (types, totals) is read and judged first; writing begins with a command that
-- a full store refuses, and once a script has written, the engine refuses it nothing more.

local APPLIED, DUPLICATE, LATE, RETRACTED, TOO_MANY, OUT_OF_RANGE, AT_BOUND, UNKNOWN = 1, 2, 3, 5, -1, -2, -3, -4
local FIRST, SUM, MAX = 0, 1, 3
local NO_METRIC, MAX_EVENTS, EXACT, INLINE = 65535, 64, 9007199254740992, 64
local NOTES = 65536
local UNNAMED = '3dnEB2f5' -- the digest of no event id (claims.UNNAMED)
local DEFERRED, RETRACT, FORGET, FLOORED = 1, 2, 4, 8
local METRIC = 49 -- of a row, uint16
local TIME = 17 -- of the decision in a row (service/store/rows.py), int64, counted from 1
local GRAIN = 600000 -- expiries are rounded up to 10 minutes, so that a busy shard is not extended at every claim

local known = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'bytes')
if not known[1] then return 'LOST' end
local epoch = tonumber(known[2] or 0)
redis.call('XLEN', KEYS[2]) -- fails here if it is no stream
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stride, rows, claims, decisions = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local composites = {}
for number, parts in string.gmatch(ARGV[5], '(%d+):([^;]*)') do
  local weights = {}
  for part, weight in string.gmatch(parts, '(%d+)=(%-?%d+)') do weights[tonumber(part)] = tonumber(weight) end
  composites[#composites + 1] = {metric = tonumber(number), weights = weights}
end
local first_overflow = #KEYS - #decisions / 8

local function parse(text)
  local tally = {exposed = string.byte(text, 1) == 49}
  for number, total, text in string.gmatch(text, ';(%d+):(%-?%d+):([^;]*)') do
    local metric, record = tonumber(number), tally[#tally]
    if metric < NOTES then
      tally[#tally + 1] = {metric = metric, total = tonumber(total), events = text, gone = ''}
    elseif metric < 2 * NOTES then
      record.values = text
    elseif metric < 3 * NOTES then
      record.gone = text
    else
      error({err = 'SPOILT bad data format: a record of a newer version of Lever'})
    end
  end
  return tally
end

local function format(tally)
  local parts = {tally.exposed and '1' or '0'}
  for _, record in ipairs(tally) do
    parts[#parts + 1] = string.format('%d:%.0f:%s', record.metric, record.total, record.events)
    if record.values and #record.events > 0 and record.values ~= string.format('%.0f', record.total) then
      parts[#parts + 1] = string.format('%d:0:%s', record.metric + NOTES, record.values)
    end
    if record.gone ~= '' then parts[#parts + 1] = string.format('%d:0:%s', record.metric + 2 * NOTES, record.gone) end
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

local function place(events, digest) -- where a digest begins, nil where it is not among them
  local at = string.find(events, digest, 1, true)
  while at and at % 8 ~= 1 do at = string.find(events, digest, at + 1, true) end
  return at
end

local function find(tally, metric)
  for i = 1, #tally do
    if tally[i].metric == metric then return tally[i] end
  end
end

local function added_to(tally, metric)
  local record = {metric = metric, total = 0, events = '', gone = ''}
  tally[#tally + 1] = record
  return record
end

-- How many events count. One that `first` took without a name, or before names were kept, has left no digest.
local function counted(record, aggregate)
  if aggregate == FIRST and record.events == '' and record.gone == '' then return 1 end
  return #record.events / 8
end

local function added(total, value, floored)
  if floored and value < 0 then return math.max(total + value, math.min(total, 0)) end
  return total + value
end

-- What the events that count are worth, in their order; nil where that was not kept.
local function values_of(record)
  local n, list = #record.events / 8, {}
  if not record.values then return n == 0 and list or n == 1 and {record.total} or nil end
  for value in string.gmatch(record.values, '[^,]+') do list[#list + 1] = tonumber(value) end
  return #list == n and list or nil
end

local function total_of(values, aggregate, floored)
  local total = aggregate ~= SUM and values[#values] or 0
  for _, value in ipairs(values) do
    if aggregate == SUM then total = added(total, value, floored) end
    if aggregate == MAX then total = math.max(total, value) end
  end
  return total
end

-- Outcome, old total, new total of taking an event back; what has not come yet will not count.
local function retract(tally, metric, aggregate, digest, floored)
  local record = find(tally, metric)
  if not record then
    record = added_to(tally, metric)
    record.gone = digest
    return APPLIED, 0, 0
  end
  local old, at, count = record.total, place(record.events, digest), counted(record, aggregate)
  if place(record.gone, digest) then return DUPLICATE end
  local event = record.events -- of `first` it is one; where it or what is to be taken back has no name, it is meant
  local only = aggregate == FIRST and count == 1 and (digest == UNNAMED or event == '' or event == UNNAMED)
  if not at and not only and count + #record.gone / 8 >= MAX_EVENTS then return TOO_MANY end
  if only then
    if event ~= '' and event ~= digest and event ~= UNNAMED then record.gone = record.gone .. event end
    record.events, record.total = '', 0
  elseif at then
    local values = values_of(record)
    if not values then return UNKNOWN end
    table.remove(values, (at + 7) / 8)
    record.events = string.sub(record.events, 1, at - 1) .. string.sub(record.events, at + 8)
    record.total = total_of(values, aggregate, floored)
    for i, value in ipairs(values) do values[i] = string.format('%.0f', value) end
    record.values = table.concat(values, ',')
  end
  record.gone = record.gone .. digest
  return APPLIED, old, record.total
end

-- Outcome, old total, new total of a row of history that is to be forgotten.
local function forget(tally, metric)
  if not tally.exposed then return DUPLICATE end
  local record = find(tally, metric)
  local old = record and record.total or 0
  for i = #tally, 1, -1 do tally[i] = nil end
  tally.exposed = false
  return APPLIED, old, 0
end

-- Outcome, old total, new total of a reward; remembers it when applied.
local function reward(tally, metric, aggregate, value, limit, digest, floored)
  local record = find(tally, metric)
  local events, gone, old, new, count = '', '', 0, value, 0
  if record then
    events, gone, old, count = record.events, record.gone, record.total, counted(record, aggregate)
    if gone ~= '' and place(gone, digest) then return RETRACTED end
    if aggregate == FIRST and count > 0 or place(events, digest) then return DUPLICATE end
    if count + #gone / 8 >= MAX_EVENTS then return TOO_MANY end
  end
  if aggregate == SUM then
    new = added(old, value, floored)
    if new == old and value ~= 0 then return AT_BOUND end
  end
  if aggregate == MAX and count > 0 then new = math.max(old, value) end
  if math.abs(new) > limit or math.abs(value) >= EXACT then return OUT_OF_RANGE end
  record = record or added_to(tally, metric)
  if count > 0 then
    local before = record.values or count == 1 and string.format('%.0f', old)
    record.values = before and before .. string.format(',%.0f', value)
  else
    record.values = nil -- the total tells
  end
  record.total = new
  if aggregate ~= FIRST or digest ~= UNNAMED or gone ~= '' then record.events = events .. digest end
  return APPLIED, old, new
end

local outcomes, applied, totals, late, changed = {}, {}, {}, {}, {}
local moved = {} -- beside a row of `applied`, the metric that it is a row of: false for the claim's own

local function note(i, old, new, exposes, of)
  applied[#applied + 1] = i
  moved[#applied] = of
  totals[#totals + 1] = string.format('%.0f:%.0f:%d', old, new, exposes)
end

-- Rows for the composites among `mask` whose total changed as that of their part `metric` did, from old to new.
local function note_composites(i, tally, metric, by, mask)
  for n, composite in ipairs(composites) do
    if math.floor(mask / 2 ^ (n - 1)) % 2 == 1 and by ~= 0 then
      local total = 0
      for _, record in ipairs(tally) do total = total + record.total * (composite.weights[record.metric] or 0) end
      note(i, total - composite.weights[metric] * by, total, 0, composite.metric)
    end
  end
end

-- Judge all.
for i = 1, #claims / 50 do
  local number, metric, aggregate, flags, value, limit, deadline, expires, digest, mask =
    struct.unpack('<I4I2BBi8i8i8i8c8I2', claims, i * 50 - 49)
  local outcome, old, new
  if now > deadline or (epoch > 0 and struct.unpack('<i8', rows, (i - 1) * stride + TIME) < epoch) then
    outcome = LATE
    late[#late + 1] = i
  else
    local tally = tallies[number] or load(number)
    local floored = flags >= FLOORED
    local exposes = flags % 2 == DEFERRED and not tally.exposed and 1 or 0
    if flags % FLOORED >= FORGET then
      outcome, old, new = forget(tally, metric)
      exposes = -1
    elseif metric == NO_METRIC then
      outcome, old, new = exposes == 1 and APPLIED or DUPLICATE, 0, 0
    elseif flags % FORGET >= RETRACT then
      exposes = 0
      outcome, old, new = retract(tally, metric, aggregate, digest, floored)
    else
      outcome, old, new = reward(tally, metric, aggregate, value, limit, digest, floored)
    end
    if outcome == APPLIED then
      if exposes == 1 then tally.exposed = true end
      if not tally.changed then changed[#changed + 1] = number end
      tally.changed = true
      if expires > tally.expires then tally.expires = expires end
      note(i, old, new, exposes, false)
      if mask > 0 then note_composites(i, tally, metric, new - old, mask) end
    end
  end
  outcomes[i] = outcome
end

-- Write all.
local function rows_of(list, metrics)
  if #list == #outcomes and #composites == 0 then return rows end
  local chosen = {}
  for n, i in ipairs(list) do
    local row = string.sub(rows, (i - 1) * stride + 1, i * stride)
    local of = metrics and metrics[n]
    if of then row = string.sub(row, 1, METRIC - 1) .. struct.pack('<I2', of) .. string.sub(row, METRIC + 2) end
    chosen[n] = row
  end
  return table.concat(chosen)
end

local function outlive(key, life, expires)
  local want = math.ceil(expires / GRAIN) * GRAIN
  -- Both are multiples of the grain, so less than a second apart is equal.
  if life < 0 or now + life + 1000 < want then redis.call('PEXPIREAT', key, string.format('%.0f', want)) end
end

local writes, lives, gone = {}, {}, {}
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
  if text == '0' then -- history that was forgotten
    gone[#gone + 1] = {write[1], tally.field}
  elseif not (text == '>' and tally.overflows) then
    write[#write + 1] = tally.field
    write[#write + 1] = text
  end
end
for shard, write in pairs(writes) do
  if #write > 1 then redis.call('HSET', unpack(write)) end -- a shard has 256 fields: far from Lua's stack limit
  outlive(write[1], left[shard], lives[shard])
end
for _, one in ipairs(gone) do redis.call('HDEL', one[1], one[2]) end
if #applied > 0 then
  local data, told = rows_of(applied, moved), table.concat(totals, ',')
  local check = seal('r' .. ARGV[1] .. ';' .. told .. ';' .. data)
  local _, bytes = write(KEYS[1], KEYS[2], known[3], {}, 'r', data, 's', ARGV[1], 'o', told, 'k', check)
  known[3] = bytes
end
if #late > 0 then
  local data = rows_of(late)
  write(KEYS[1], KEYS[2], known[3], {}, 'l', data, 's', ARGV[1], 'k', seal('l' .. ARGV[1] .. ';;' .. data))
end
return outcomes
