-- A shard's state, and the one way to change it: the part that every operation builds on.
--
-- All keys of a shard share the hash tag that KEYS[1] carries ("{s17}:m"), so that they live in one
-- slot of a Redis Cluster. The shard's keys, behind the prefix "{s17}:":
--   m                      hash  seq; shards; waiting and parked (how many events wait); fences
--                                "f:<topic>:<partition>" = last applied offset; epoch, run, pending, beat
--                                and ended (below); journal = ledger offset from which on there may be
--                                something not in here; journaled = seq up to which all is in front of it
--   o                      stream outbox: id "<seq>-0", field "<topic>\t<key>[\t<headers>]", value
--   w:<seller>             hash  "<currency>:<account>" = integer minor units
--   h                      hash  house accounts, "<account>:<currency>" = integer minor units
--   p:<seller>             "<revision>|<profile JSON>"
--   d:<id>                 of an event: body hash. Of a request that came over no topic: "<body hash>|" and
--                          the outcome, so that its repeat is answered alike. Kept for the retention of ids
--   r:<s|c>:<id>           what a sale or a commission earned (JSON), for returns and labels; kept as long, and
--                          as long as something of it is held
--   q:<seller>             list  earnings that wait for the seller's profile (JSON)
--   y:<payout id>          a payout (JSON); kept for the retention once terminal
--   i:<rail>:<reference>   the attempt's id behind a rail's reference, where its reports name nothing else;
--                          kept as long as ids
--   n:<seller>:<campaign>:<period>:<currency>   "<total>|<tier>,<lot>,<amount>,<threshold>,<expires ms or
--                                0>[,<flags>]|…"; spendback.lua says what the marks mean
--   B: b: bw:                  what campaigns may cost: see budget.lua
--   l:<seller>             hash  lot id = "<currency>,<left>,<granted>,<expires ms or 0>,<campaign>,<period>,
--                                <tier>,<groups of products that it may be spent on, by "|"; empty: any>"
--   L:<seller>             hash  what is pending of each of her earnings (releases.lua)
--   L                      hash  currency = what is pending in all
--   H                      zset  "<seller>/<record>" of the earnings of which something is held, by since when
--                                (ms); how much stands in the record
--   E                      hash  currency = "<day>,<minor>": what was let through by chance on a day (earn.lua)
--   k:<seller>             hash  lot id = "<recovered>,<forgiven>": of credit that was spent and whose grant was
--                                undone since, what its seller owes for it, and what not
--   a:<seller>/<authorisation>   what a till has authorised (JSON, till.lua); kept as long as ids once
--                                nothing of it is left
--   f:<pair>               a rate (JSON, fx.lua), in the shard that the pair's name leads to
--   c:<seller>/<quote>     a conversion, quoted or made (JSON, fx.lua); kept as long as ids once it is over
--   g: gw:                     discounts on purchases to come: see discount.lua
--   v:<seller>:<rail>:<currency>   "<day>,<minor>": sent on a day (UTC), where the policy limits it
--   x:<entity>             fraud feature state
--   t                      zset  timers that lead to a booking, by due time in ms
--   D                      hash  "<currency>:<seller>" = "<day>,<minor>|…": since which day (UTC, counted from
--                                1970) how much of her debt is owed, oldest first; what is older than
--                                DEBT_DAYS together
--   e                      zset  payouts to ask a rail about, by due time in ms: of its own, since other
--                                workers look after it, and what they leave may not hold up a booking
--   u:<topic>:<partition>:<offset>   why an event was refused, so that its dead letter can be made
--                                again; kept as long as ids
--
-- Epochs. Whoever opens a shard puts a marker into the ledger first; the offset behind it is the epoch.
-- Every entry carries the epoch it was booked in, and one that comes behind the next marker is void:
-- so the ledger alone says what happened, also when Redis lost what it had acknowledged. A shard may be
-- booked to only on the server process it was opened on (run): a restarted, promoted or emptied server
-- has to be compared with the ledger first. pending names who does that. ended = "<epoch>:<seq>,…":
-- the latest epochs that are over, each with the last seq that counts of it.
--
-- An operation decides first, on drafts; commit() then checks the whole entry and only then writes.
-- Redis does not roll back, so nothing behind the first write may fail.

local EXACT_MAX = 9007199254740991
-- Debt that is older than so many days grows no older.
local DEBT_DAYS = 90
local DAY_MS = 86400000
local ACCOUNTS = {'available', 'held', 'pending', 'in_flight', 'authorised', 'quoted', 'credit', 'debt'}

-- Globals (redis.call, cjson, string, math) exist only while a function runs, not at its loading:
-- every registered function calls enter() first.
local call, encode, decode, format, floor, concat
local function enter()
  call, encode, decode = redis.call, cjson.encode, cjson.decode
  format, floor, concat = string.format, math.floor, table.concat
end

-- The id of this server process, which a restarted or promoted one does not share.
local run
local function run_id()
  run = run or call('INFO', 'server'):match('run_id:(%x+)')
  return run
end

-- How a shard stands. sound: it may be booked to, as far as Redis knows.
local function standing(meta_key)
  local values = call('HMGET', meta_key, 'seq', 'epoch', 'run', 'pending')
  local pending = values[4] or nil
  return {seq = tonumber(values[1] or 0), epoch = tonumber(values[2] or 0), pending = pending,
    sound = values[3] == run_id() and not pending}
end

local function unhealed(meta_key, at)
  return redis.error_reply('UNHEALED ' .. meta_key .. ' at ' .. format('%d', at.seq) .. ', epoch '
    .. format('%d', at.epoch) .. (at.pending and ', suspended' or ''))
end

-- An integer as text; exact up to 2^53.
local function int(number)
  return format('%d', number)
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

-- The shard as one call sees it. `context`: retention_ms and what the operations look up.
local function open_shard(meta_key, at, now, context)
  local number = meta_key:match('^{s(%d+)}')
  local shard = {
    prefix = meta_key:sub(1, -2),
    meta = meta_key,
    number = tonumber(number),
    now = now,
    now_text = int(now),
    forget = int(now + context.retention_ms),
    head = '{"v":1,"shard":' .. number .. ',"seq":',
    context = context,
    seq = at.seq,
    epoch = ',"epoch":' .. int(at.epoch) .. ',"kind":"',
    wallets = {},
    house = {},
    moved_house = {},
    counted = {},
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
    local field = currency .. ':'
    local values = call('HMGET', shard.prefix .. 'w:' .. seller, field .. 'available',
      field .. 'held', field .. 'in_flight', field .. 'authorised', field .. 'quoted', field .. 'credit',
      field .. 'debt', field .. 'pending')
    wallet = {seller = seller, currency = currency, available = tonumber(values[1] or 0),
      held = tonumber(values[2] or 0), in_flight = tonumber(values[3] or 0),
      authorised = tonumber(values[4] or 0), quoted = tonumber(values[5] or 0),
      credit = tonumber(values[6] or 0), debt = tonumber(values[7] or 0),
      pending = tonumber(values[8] or 0)}
    shard.wallets[name] = wallet
  end
  return wallet
end

-- A journal entry in the making. `draft` is a copy of the wallet that the operation moves money in. What it
-- moves in a second currency stands under `also`.
local function new_entry(shard, op, kind, currency)
  op.seller = op.seller or ''
  local wallet = wallet_of(shard, op.seller, currency)
  local draft = {available = wallet.available, held = wallet.held, pending = wallet.pending,
    in_flight = wallet.in_flight, authorised = wallet.authorised, quoted = wallet.quoted,
    credit = wallet.credit, debt = wallet.debt}
  return {op = op, kind = kind, seller = op.seller, currency = currency, draft = draft,
    wallet = wallet, deltas = {}, house = {}, writes = {}, out = {}, emits = {}, extra = {},
    counted = {}, shard = shard}
end

-- What an entry moves in a second currency, as an entry of its own to move() and receive(). What it writes
-- is the entry's.
local function in_currency(shard, op, entry, currency)
  entry.also = new_entry(shard, op, op.kind, currency)
  entry.also.writes = entry.writes
  return entry.also
end

-- Move an amount from one account to another. A house account is written with a leading slash.
local function move(entry, from, to, amount)
  if amount == 0 then
    return
  end
  local draft, deltas, house = entry.draft, entry.deltas, entry.house
  if draft[from] then
    draft[from] = draft[from] - amount
    deltas[from] = (deltas[from] or 0) - amount
  else
    house[from] = (house[from] or 0) - amount
  end
  if draft[to] then
    draft[to] = draft[to] + amount
    deltas[to] = (deltas[to] or 0) + amount
  else
    house[to] = (house[to] or 0) + amount
  end
end

-- Money that comes to the seller: debt is paid first, with `most` of it at most if that is given; the
-- rest goes to `account`.
local function receive(entry, from, account, amount, most)
  local owed = -entry.draft.debt
  local repaid = owed < amount and owed or amount
  repaid = most and most < repaid and most or repaid
  if repaid > 0 then
    move(entry, from, 'debt', repaid)
  end
  move(entry, from, account, amount - repaid)
  return amount - repaid
end

-- What a seller earned comes to her, `there` of it now: a share of the earning, rounded down, works off
-- debt. `before`: what the same earning has paid of it. The journal is told the share and the figures.
local function work_off(entry, shard, from, account, earned, there, before)
  local bp, owed = shard.context.debt_bp or 10000, -entry.draft.debt
  local most = part(earned, bp) - before
  local kept = receive(entry, from, account, there, most > 0 and most or 0)
  if owed > 0 then
    entry.worked = entry.worked or {}
    entry.worked[#entry.worked + 1] = format('[%s,%s,%s,%s,%s,%s]', int(bp), int(earned), int(before),
      int(there), int(owed), int(there - kept))
    entry.extra.worked = '[' .. concat(entry.worked, ',') .. ']'
  end
  return kept
end

local function write(entry, ...)
  local writes = entry.writes
  writes[#writes + 1] = {...}
end

-- Keep what a sale or a commission earned, until then, or for as long as something of it is held.
local function keep_record(entry, suffix, record, until_ms)
  if (record.held or 0) > 0 or not until_ms then
    write(entry, 'SET', suffix, encode(record))
  else
    write(entry, 'SET', suffix, encode(record), 'PXAT', until_ms)
  end
end

-- Keep since when debt is owed, if it changes: what is paid is what has been owed the longest.
local function age_debt(shard, entry)
  local more = -(entry.deltas.debt or 0)
  if more == 0 then
    return
  end
  local field = entry.currency .. ':' .. entry.seller
  local today, owed = floor(shard.now / DAY_MS), {}
  for day, minor in (call('HGET', shard.prefix .. 'D', field) or ''):gmatch('(%d+),(%d+)') do
    owed[#owed + 1] = {tonumber(day), tonumber(minor)}
  end
  if more > 0 and #owed > 0 and owed[#owed][1] >= today then
    owed[#owed][2] = owed[#owed][2] + more
  elseif more > 0 then
    owed[#owed + 1] = {today, more}
  end
  local parts, old = {}, 0
  for i, one in ipairs(owed) do
    local paid = more < 0 and (one[2] < -more and one[2] or -more) or 0
    more, one[2] = more + paid, one[2] - paid
    old = old + one[2]
    local joins = owed[i + 1] and owed[i + 1][1] < today - DEBT_DAYS
    if old > 0 and not joins then
      parts[#parts + 1] = int(one[1]) .. ',' .. int(old)
      old = 0
    end
  end
  if #parts > 0 then
    write(entry, 'HSET', 'D', field, concat(parts, '|'))
  else
    write(entry, 'HDEL', 'D', field)
  end
end

-- Count events that wait: `name` is waiting or parked. The number itself is written, not the change,
-- as everything in an entry's redo: so that redoing it twice does nothing.
local function count_by(entry, shard, name, delta)
  local before = entry.counted[name] or shard.counted[name]
    or tonumber(call('HGET', shard.meta, name) or 0)
  entry.counted[name] = before + delta
end

local function publish(entry, topic, key, value, headers)
  local field = headers and topic .. '\t' .. key .. '\t' .. headers or topic .. '\t' .. key
  local out = entry.out
  local n = #out
  out[n + 1] = field
  out[n + 2] = value
end

-- What a house account of the shard is at, before the entry in the making.
local function house_at(shard, name)
  local at = shard.house[name]
  if not at then
    at = tonumber(call('HGET', shard.prefix .. 'h', name) or 0)
    shard.house[name] = at
  end
  return at
end

-- The entry's postings as JSON: account, currency, change, and what the account is at behind it. An
-- error if they do not sum to zero or a balance is out of bounds.
local function postings_of(shard, entry)
  local sum, parts = 0, {}
  local draft, deltas, currency = entry.draft, entry.deltas, entry.currency
  for i = 1, #ACCOUNTS do
    local account = ACCOUNTS[i]
    local delta = deltas[account]
    if delta and delta ~= 0 then
      sum = sum + delta
      parts[#parts + 1] = '["' .. entry.seller .. '/' .. account .. '","' .. currency .. '",'
        .. int(delta) .. ',' .. int(draft[account]) .. ']'
    end
    local balance = draft[account]
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
      local at = house_at(shard, account:sub(2) .. ':' .. currency) + delta
      if at > EXACT_MAX or at < -EXACT_MAX then
        error('TOO_LARGE ' .. account, 0)
      end
      parts[#parts + 1] = '["' .. account .. '","' .. currency .. '",' .. int(delta) .. ','
        .. int(at) .. ']'
    end
  end
  if sum ~= 0 then
    error('UNBALANCED ' .. int(sum), 0)
  end
  return concat(parts, ',')
end

-- The same of both currencies of an entry that has two.
local function all_postings_of(shard, entry)
  local first = postings_of(shard, entry)
  if not entry.also then
    return first
  end
  local second = postings_of(shard, entry.also)
  return first .. (first ~= '' and second ~= '' and ',' or '') .. second
end

-- Take what an entry moved over into what the whole call has in memory.
local function adopt(shard, entry)
  local wallet, draft = entry.wallet, entry.draft
  for account, delta in pairs(entry.deltas) do
    if delta ~= 0 then
      wallet[account] = draft[account]
      shard.moved[wallet] = true
    end
  end
  for account, delta in pairs(entry.house) do
    if delta ~= 0 then
      local name = account:sub(2) .. ':' .. entry.currency
      shard.house[name] = shard.house[name] + delta
      shard.moved_house[name] = true
    end
  end
end

-- The entry's writes as a JSON list; their numbers become text.
local function writes_of(writes)
  if #writes == 0 then
    return '[]'
  end
  for i = 1, #writes do
    local command = writes[i]
    for j = 3, #command do
      if type(command[j]) == 'number' then
        command[j] = int(command[j])
      end
    end
  end
  return encode(writes)
end

local function forget_at(shard)
  return shard.forget
end

local function add_balances(parts, draft)
  for _, account in ipairs(ACCOUNTS) do
    parts[#parts + 1] = '"' .. account .. '":' .. int(draft[account])
  end
end

-- A request that came over no topic has no offset: nothing but its id keeps it from a second effect. What
-- it is answered with is kept with the id, a refusal too: a repeat that comes late must not do what its
-- sender was told is not done.
local function remember(shard, entry)
  local op = entry.op
  if entry.refused then
    op.answer = 'refused:' .. entry.refused
  else
    local parts = {'booked:{"at_ms":' .. shard.now_text}
    add_balances(parts, entry.draft)
    if entry.also then
      local also = {}
      add_balances(also, entry.also.draft)
      parts[#parts + 1] = '"also":{' .. concat(also, ',') .. '}'
    end
    for _, name in ipairs({'payout', 'quote'}) do
      parts[#parts + 1] = entry.extra[name] and '"' .. name .. '":' .. entry.extra[name]
    end
    if entry.told then
      parts[#parts + 1] = entry.told
    end
    op.answer = concat(parts, ',') .. '}'
  end
  write(entry, 'SET', 'd:' .. op.id, op.hash .. '|' .. op.answer, 'PXAT', shard.forget)
end

-- Check the entry, give it the next seq, and write its keys; the rest is written by close_shard().
local function commit(shard, entry)
  local op = entry.op
  local postings = all_postings_of(shard, entry)
  age_debt(shard, entry)
  if entry.also then
    age_debt(shard, entry.also)
  end
  if op.hash and not op.topic then
    remember(shard, entry)
  end
  for name, value in pairs(entry.counted) do
    write(entry, 'HSET', 'm', name, value)
  end
  local seq = shard.seq + 1
  local seq_text, prefix, writes = int(seq), shard.prefix, entry.writes
  -- One concatenation: every string that is made on the way would be copied and hashed.
  local parts = {shard.head, seq_text, shard.epoch, entry.kind, '","id":"', op.id, '","seller":"',
    entry.seller, '","at":', shard.now_text}
  local n = #parts
  if op.hash then
    parts[n + 1] = (entry.refused and ',"refused":"' .. entry.refused or ',"hash":"' .. op.hash) .. '"'
    n = n + 1
  end
  -- What a program asked for has a body to tell a repeat by, and no place in a topic.
  if op.topic then
    parts[n + 1] = ',"source":["' .. op.topic .. '",' .. int(op.partition) .. ',' .. int(op.offset) .. ']'
    n = n + 1
  end
  -- In front, where whoever counts what is reinvested finds it without a look at the rest.
  if entry.lots then
    parts[n + 1] = ',"lots":[' .. concat(entry.lots, ',') .. ']'
    n = n + 1
  end
  parts[n + 1] = ',"postings":['
  parts[n + 2] = postings
  parts[n + 3] = '],"writes":'
  parts[n + 4] = writes_of(writes)
  n = n + 4
  if #entry.emits > 0 then
    parts[n + 1] = ',"emits":["' .. concat(entry.emits, '","') .. '"]'
    n = n + 1
  end
  for name, value in pairs(entry.extra) do
    parts[n + 1] = ',"' .. name .. '":'
    parts[n + 2] = value
    n = n + 2
  end
  parts[n + 1] = '}'
  local json = concat(parts)

  -- From here on everything is a write, and nothing can fail.
  shard.seq = seq
  adopt(shard, entry)
  if entry.also then
    adopt(shard, entry.also)
  end
  for name, value in pairs(entry.counted) do
    shard.counted[name] = value
  end
  for i = 1, #writes do
    local command = writes[i]
    call(command[1], prefix .. command[2], unpack(command, 3))
  end
  if op.topic and not entry.refused then
    call('SET', prefix .. 'd:' .. op.id, op.hash, 'PXAT', shard.forget)
  end
  -- What concerns no seller is keyed by the shard's own key, which leads to the same partition.
  local key = entry.seller ~= '' and entry.seller or SHARD_KEYS[shard.number + 1]
  local message, out = {'ledger\t' .. key, json}, entry.out
  for i = 1, #out do
    message[2 + i] = out[i]
  end
  shard.outbox[#shard.outbox + 1] = {seq_text, message}
end

-- The entries behind the first so many are of one operation. Each says how many more there are, so
-- that the ledger, which may get but a part of them before Redis is lost, counts all or none.
local function join(shard, before)
  local outbox = shard.outbox
  for i = before + 1, #outbox - 1 do
    local seq, message = outbox[i][1], outbox[i][2]
    local length = #shard.head + #seq
    message[2] = message[2]:sub(1, length) .. ',"more":' .. int(#outbox - i)
      .. message[2]:sub(length + 1)
  end
end

-- So many entries that the outbox holds from a stream id on, as book() returns them.
local function leftovers(prefix, first, most)
  local found = {}
  for i, entry in ipairs(call('XRANGE', prefix .. 'o', first, '+', 'COUNT', most)) do
    found[i] = {entry[1]:match('^%d+'), entry[2]}
  end
  return found
end

-- Write back what commit() left in memory for the whole call: outbox, wallets, house, fences, seq.
local function close_shard(shard)
  for _, entry in ipairs(shard.outbox) do
    call('XADD', shard.prefix .. 'o', entry[1] .. '-0', unpack(entry[2]))
  end
  for wallet in pairs(shard.moved) do
    local field = wallet.currency .. ':'
    call('HSET', shard.prefix .. 'w:' .. wallet.seller,
      field .. 'available', int(wallet.available), field .. 'held', int(wallet.held),
      field .. 'pending', int(wallet.pending),
      field .. 'in_flight', int(wallet.in_flight), field .. 'authorised', int(wallet.authorised),
      field .. 'quoted', int(wallet.quoted), field .. 'credit', int(wallet.credit),
      field .. 'debt', int(wallet.debt))
  end
  for name in pairs(shard.moved_house) do
    call('HSET', shard.prefix .. 'h', name, int(shard.house[name]))
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
