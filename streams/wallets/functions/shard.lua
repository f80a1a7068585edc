-- A shard's state, and the one way to change it: the part that every operation builds on.
--
-- All keys of a shard share the hash tag that KEYS[1] carries ("{s17}:m"), so that they live in one
-- slot of a Redis Cluster. The shard's keys, behind the prefix "{s17}:":
--   m                      hash  seq, shards, fences "f:<topic>:<partition>" = last applied offset,
--                                journal = next ledger offset that may hold something not in here
--   o                      stream outbox: id "<seq>-0", field "<topic>\t<key>[\t<headers>]", value
--   w:<seller>             hash  "<currency>:<account>" = integer minor units
--   h                      hash  house accounts, "<account>:<currency>" = integer minor units
--   p:<seller>             "<revision>|<profile JSON>"
--   d:<event id>           body hash; kept for the retention of ids
--   r:<s|c>:<id>           what a sale or a commission earned (JSON), for returns; kept as long
--   q:<seller>             list  earnings that wait for the seller's profile (JSON)
--   y:<payout id>          a payout (JSON); kept for the retention once terminal
--   n:<seller>:<campaign>:<period>:<currency>   "<total>|<tier>,<lot>,<amount>,<threshold>|…"
--   l:<seller>             hash  lot id = "<currency>,<left>,<granted>,<expires ms or 0>,<campaign>"
--   x:<entity>             fraud feature state
--   t                      zset  timers by due time in ms
--   u                      hash  "<topic>:<partition>:<offset>" = reason: refusals whose dead letter
--                                is not known to be published
--
-- An operation decides first, on drafts; commit() then checks the whole entry and only then writes.
-- Redis does not roll back, so nothing behind the first write may fail.

local EXACT_MAX = 9007199254740991
local ACCOUNTS = {'available', 'held', 'in_flight', 'credit', 'debt'}

-- Globals (redis.call, cjson, string, math) exist only while a function runs, not at its loading.
local function call(...)
  return redis.call(...)
end
local function encode(value)
  return cjson.encode(value)
end
local function format(...)
  return string.format(...)
end
local function floor(number)
  return math.floor(number)
end

local function int(number)
  return format('%.0f', number)
end

-- a * n / d, half to even, exact for a, n, d up to 10^12: Horner over n's digits in base 1000.
local function ratio(a, n, d)
  if d == 0 then
    return 0
  end
  local digits = {}
  while n > 0 do
    digits[#digits + 1] = n % 1000
    n = floor(n / 1000)
  end
  local quotient, rest = 0, 0
  for i = #digits, 1, -1 do
    local t = rest * 1000 + a * digits[i]
    quotient = quotient * 1000 + floor(t / d)
    rest = t % d
  end
  if 2 * rest > d or (2 * rest == d and quotient % 2 == 1) then
    quotient = quotient + 1
  end
  return quotient
end

-- bp basis points of an amount, rounded down, exact for amounts up to 10^12.
local function part(amount, bp)
  return floor(amount / 10000) * bp + floor((amount % 10000) * bp / 10000)
end

-- RFC 4122 version 5, in the namespace of this product (models/ids.py has the same).
local NAMESPACE = '\091\030\154\112\060\077\079\094\138\017\112\097\121\111\117\116'
local function uuid5(name)
  local h = redis.sha1hex(NAMESPACE .. name)
  local variant = format('%x', tonumber(h:sub(17, 17), 16) % 4 + 8)
  return h:sub(1, 8) .. '-' .. h:sub(9, 12) .. '-5' .. h:sub(14, 16) .. '-' .. variant
    .. h:sub(18, 20) .. '-' .. h:sub(21, 32)
end

-- The shard as one call sees it. `context`: now, retention_ms and what the operations look up.
local function open_shard(meta_key, context)
  local shard = {
    prefix = meta_key:sub(1, -2),
    meta = meta_key,
    number = tonumber(meta_key:match('^{s(%d+)}')),
    now = context.now,
    context = context,
    seq = tonumber(call('HGET', meta_key, 'seq') or 0),
    wallets = {},
    house = {},
    fences = {},
    moved = {},
    outbox = {},
  }
  shard.first_seq = shard.seq
  return shard
end

local function get(shard, suffix)
  return call('GET', shard.prefix .. suffix) or nil
end

local function wallet_of(shard, seller, currency)
  local name = seller .. '/' .. currency
  local wallet = shard.wallets[name]
  if not wallet then
    local fields = {}
    for i, account in ipairs(ACCOUNTS) do
      fields[i] = currency .. ':' .. account
    end
    local values = call('HMGET', shard.prefix .. 'w:' .. seller, unpack(fields))
    wallet = {seller = seller, currency = currency}
    for i, account in ipairs(ACCOUNTS) do
      wallet[account] = tonumber(values[i] or 0)
    end
    shard.wallets[name] = wallet
  end
  return wallet
end

-- A journal entry in the making. `draft` is a copy of the wallet that the operation moves money in.
local function new_entry(shard, op, kind, currency)
  local wallet = wallet_of(shard, op.seller, currency)
  local draft = {}
  for key, value in pairs(wallet) do
    draft[key] = value
  end
  return {op = op, kind = kind, seller = op.seller, currency = currency, draft = draft,
    wallet = wallet, deltas = {}, house = {}, writes = {}, out = {}, emits = {}, extra = {}}
end

-- Move an amount from one account to another. A house account is written with a leading slash.
local function move(entry, from, to, amount)
  if amount == 0 then
    return
  end
  for i = 1, 2 do
    local account = i == 1 and from or to
    local delta = i == 1 and -amount or amount
    if account:sub(1, 1) == '/' then
      entry.house[account] = (entry.house[account] or 0) + delta
    else
      entry.draft[account] = entry.draft[account] + delta
      entry.deltas[account] = (entry.deltas[account] or 0) + delta
    end
  end
end

-- Money that comes to the seller: debt is paid first, the rest goes to `account`.
local function receive(entry, from, account, amount)
  local owed = -entry.draft.debt
  local repaid = owed < amount and owed or amount
  if repaid > 0 then
    move(entry, from, 'debt', repaid)
  end
  move(entry, from, account, amount - repaid)
  return amount - repaid
end

local function write(entry, ...)
  entry.writes[#entry.writes + 1] = {...}
end

local function publish(entry, topic, key, value, headers)
  local field = topic .. '\t' .. key
  if headers then
    field = field .. '\t' .. headers
  end
  entry.out[#entry.out + 1] = field
  entry.out[#entry.out + 1] = value
end

local function run(shard, command)
  call(command[1], shard.prefix .. command[2], unpack(command, 3))
end

-- The entry's postings as JSON; an error if they do not sum to zero or a balance is out of bounds.
local function postings_of(entry)
  local sum, parts = 0, {}
  for _, account in ipairs(ACCOUNTS) do
    local delta = entry.deltas[account]
    if delta and delta ~= 0 then
      sum = sum + delta
      parts[#parts + 1] = '["' .. entry.seller .. '/' .. account .. '","' .. entry.currency .. '",'
        .. int(delta) .. ']'
    end
    local balance = entry.draft[account]
    if account == 'debt' then
      balance = -balance
    end
    if balance < 0 then
      error('NEGATIVE ' .. account, 0)
    elseif balance > EXACT_MAX then
      error('TOO_LARGE ' .. account, 0)
    end
  end
  for account, delta in pairs(entry.house) do
    if delta ~= 0 then
      sum = sum + delta
      parts[#parts + 1] = '["' .. account .. '","' .. entry.currency .. '",' .. int(delta) .. ']'
    end
  end
  if sum ~= 0 then
    error('UNBALANCED ' .. int(sum), 0)
  end
  return table.concat(parts, ',')
end

local function writes_of(entry)
  local parts = {}
  for i, command in ipairs(entry.writes) do
    for j, argument in ipairs(command) do
      if type(argument) == 'number' then
        command[j] = int(argument)
      end
    end
    parts[i] = encode(command)
  end
  return table.concat(parts, ',')
end

local function forget_at(shard)
  return int(shard.now + shard.context.retention_ms)
end

-- Check the entry, give it the next seq, and write all of it: wallet, house, keys, outbox.
local function commit(shard, entry)
  local op = entry.op
  local postings = postings_of(entry)
  local seq = shard.seq + 1
  local json = '{"v":1,"shard":' .. shard.number .. ',"seq":' .. int(seq) .. ',"kind":"' .. entry.kind
    .. '","id":"' .. op.id .. '","seller":"' .. entry.seller .. '","at":' .. int(shard.now)
  if op.hash then
    json = json .. ',"hash":"' .. op.hash .. '","source":["' .. op.topic .. '",' .. int(op.partition)
      .. ',' .. int(op.offset) .. ']'
  end
  json = json .. ',"postings":[' .. postings .. '],"writes":[' .. writes_of(entry) .. ']'
  if #entry.emits > 0 then
    json = json .. ',"emits":["' .. table.concat(entry.emits, '","') .. '"]'
  end
  for name, value in pairs(entry.extra) do
    json = json .. ',"' .. name .. '":' .. value
  end
  json = json .. '}'

  -- From here on everything is a write, and nothing can fail.
  shard.seq = seq
  for account, value in pairs(entry.draft) do
    entry.wallet[account] = value
  end
  for account, delta in pairs(entry.deltas) do
    if delta ~= 0 then
      shard.moved[entry.wallet] = true
    end
  end
  for account, delta in pairs(entry.house) do
    local name = account:sub(2) .. ':' .. entry.currency
    shard.house[name] = (shard.house[name] or 0) + delta
  end
  for _, command in ipairs(entry.writes) do
    run(shard, command)
  end
  if op.hash then
    call('SET', shard.prefix .. 'd:' .. op.id, op.hash, 'PXAT', forget_at(shard))
  end
  local message = {'ledger\t' .. entry.seller, json}
  for i, value in ipairs(entry.out) do
    message[2 + i] = value
  end
  call('XADD', shard.prefix .. 'o', int(seq) .. '-0', unpack(message))
  shard.outbox[#shard.outbox + 1] = {int(seq), message}
end

-- Write back what commit() left in memory for the whole call: wallets, house, fences, seq.
local function close_shard(shard)
  for wallet in pairs(shard.moved) do
    local fields = {}
    for _, account in ipairs(ACCOUNTS) do
      fields[#fields + 1] = wallet.currency .. ':' .. account
      fields[#fields + 1] = int(wallet[account])
    end
    call('HSET', shard.prefix .. 'w:' .. wallet.seller, unpack(fields))
  end
  for name, delta in pairs(shard.house) do
    if delta ~= 0 then
      call('HINCRBY', shard.prefix .. 'h', name, int(delta))
    end
  end
  local meta = {}
  for fence, offset in pairs(shard.fences) do
    meta[#meta + 1] = fence
    meta[#meta + 1] = int(offset)
  end
  if shard.seq ~= shard.first_seq then
    meta[#meta + 1] = 'seq'
    meta[#meta + 1] = int(shard.seq)
  end
  if #meta > 0 then
    call('HSET', shard.meta, unpack(meta))
  end
end

local operations = {}
