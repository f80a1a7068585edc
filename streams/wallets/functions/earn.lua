-- Earnings: a sale or a commission credits its seller; a return takes back along the same lineage.

-- A record of what was earned is kept as JSON under r:<kind>:<id>:
--   seller, currency, base (sale's amount), amount (earned), returned (of base), reversed (of
--   amount), held (of it, still in `held`; of a partial one a share at first), worked (of it, what paid debt
--   before it was held), waiting (for the profile), shown (of the returned, what counts already, while waiting returns are
--   released), tier, occurred, first (it is the seller's first sale), lines {<id> = {amount, returned}},
--   reinvested and boosted (what of it is credit: reinvest.lua), pending (a part is:
--   releases.lua), sold (of one that is held: what schedules look at), subject (of a sale: what its label
--   needs to know, models/verdicts.py), verdict (of its last label), forfeited (of it, and no return took it
--   yet; labels.lua),
--   counts {campaign, period, forget, metric, near}, up {to, commission, sale, origin, level}
-- or, while returns are ahead of their sale, early = list of parked return operations.

-- A record of which something is held is kept until nothing is.
local EARLY_MAX = 20
-- An entry holds all early returns of a sale, as text in text, and has to fit into a message.
local EARLY_BYTES_MAX = 1000000
local WAITING_MAX = 500

local function upline_body(up, currency, amount, base)
  local commission = up.commission and '","commission_id":"' .. up.commission or ''
  return '"version":1,"occurred_at":"' .. up.occurred_at .. '","seller_id":"' .. up.to
    .. commission .. '","currency":"' .. currency .. '","amount_minor":'
    .. int(amount) .. ',"source":{"sale_id":"' .. up.sale .. '","seller_id":"' .. up.origin
    .. '","level":' .. int(up.level) .. ',"base_minor":' .. int(base)
    .. (up.held and ',"held":true' or '') .. (up.sold and ',"sold":' .. up.sold or '') .. '}}'
end

-- The next seller up earns her share of the same sale: `up.amount` of `record.base`.
local function pass_up(entry, record)
  local up = record.up
  publish(entry, 'commissions', up.to, '{"type":"commission.earned","id":"' .. up.commission .. '",'
    .. upline_body(up, entry.currency, up.amount, record.base))
  entry.emits[#entry.emits + 1] = up.commission
end

local function reverse_up(entry, up, base, cause)
  local id = uuid5(cause .. '/' .. (up.commission or up.to))
  publish(entry, 'commissions', up.to, '{"type":"commission.reversed","id":"' .. id .. '",'
    .. upline_body(up, entry.currency, 0, base))
  entry.emits[#entry.emits + 1] = id
end

-- What is held of an earning has changed: tell the journal, and keep the list of what is held, in H by when it
-- was. what: held, taken, released or forfeited. `before`: what was held of it before the entry.
local function note_held(entry, shard, name, record, before, what)
  local more = record.held - before
  if more == 0 then
    return
  end
  entry.extra.held = format('["%s","%s","%s",%s,%s]', name, entry.currency, what,
    int(more < 0 and -more or more), int(record.held))
  local member = entry.seller .. '/' .. name
  if record.held == 0 then
    write(entry, 'ZREM', 'H', member)
  elseif what == 'held' then
    write(entry, 'ZADD', 'H', shard.now, member)
  end
end

-- Take an amount back from the seller: what a label took already, then what is still held or pending of it,
-- then what was reinvested of it and is unspent, then available, then debt.
local function take_back(entry, record, amount)
  local given_up = record.forfeited or 0
  if given_up > 0 then
    given_up = given_up < amount and given_up or amount
    record.forfeited = record.forfeited - given_up
    amount = amount - given_up
  end
  local from_held = amount < record.held and amount or record.held
  if from_held > 0 then
    move(entry, 'held', '/commissions', from_held)
    record.held = record.held - from_held
  end
  amount = amount - from_held
  amount = amount - releases.take_back(entry, record, amount)
  amount = amount - reinvest.take_back(entry, record, amount)
  charge(entry, '/commissions', amount)
end

-- Tell the journal of a line of a sale: that so much of it was sold, or returned.
local function note_line(entry, record_name, line, what, minor)
  entry.lines = entry.lines or {}
  entry.lines[#entry.lines + 1] = format('["%s","%s","%s",%s]', record_name, line, what, int(minor))
  entry.extra.lines = '[' .. concat(entry.lines, ',') .. ']'
end

-- The money of a return: what is taken back in all is the returned share of what was earned, so
-- that parts, in whatever order, never add up to more than the whole.
local function take_share(entry, record, base, line)
  record.returned = record.returned + base
  if line then
    record.lines[line][2] = record.lines[line][2] + base
    note_line(entry, entry.op.record, line, 'returned', base)
  end
  local reversed = ratio(record.amount, record.returned, record.base)
  take_back(entry, record, reversed - record.reversed)
  record.reversed = reversed
end

-- Why a return does not fit what was earned; nil if it does.
local function misfit(record, item)
  if record.seller ~= item.seller then
    return 'seller_mismatch'
  elseif record.currency ~= item.currency then
    return 'currency_mismatch'
  elseif record.returned + item.base > record.base then
    return 'return_exceeds_sale'
  end
  local line = item.line and (record.lines or {})[item.line]
  if item.line and not line then
    return 'unknown_line'
  elseif line and line[2] + item.base > line[1] then
    return 'return_exceeds_line'
  end
end

-- Returns that came ahead of their sale: those that fit it are applied, before the sale counts
-- anywhere; the others become dead letters. Returns {id, base} of each that was applied; nil if none.
local function take_early(shard, entry, record, early)
  local taken = {}
  write(entry, 'ZREM', 't', 'early:' .. entry.op.record)
  count_by(entry, shard, 'parked', -#early)
  for _, parked in ipairs(early) do
    local reason = not parked.again and misfit(record, parked)
    if parked.again then
      -- A label: it comes once more, behind its sale.
      publish(entry, parked.topic, parked.seller, parked.again)
    elseif reason then
      local headers = parked.headers:gsub('"reason":"[^"]*"', '"reason":"' .. reason .. '"')
      publish(entry, 'dead-letters', parked.seller, parked.raw, headers)
    else
      take_share(entry, record, parked.base, parked.line)
      taken[#taken + 1] = {parked.id, parked.base}
    end
  end
  return #taken > 0 and taken or nil
end

-- The upline's share of returns that came ahead of their sale, each under its own id: so it is the same
-- whether the profile was there with the sale or came later, also when events are taken again.
local function reverse_each(entry, record, back)
  for _, one in ipairs(record.up and back or {}) do
    reverse_up(entry, record.up, one[2], one[1])
  end
end

-- What a record adds to a metric when so much of its base is returned.
local function metric_at(record, metric, returned)
  return metric_of({base = record.base, amount = record.amount, returned = returned,
    first = record.first, reversed = ratio(record.amount, returned, record.base)}, metric)
end

-- A return of `base` counts, behind `returned` of before: campaign totals, and the upline's share.
local function count_back(shard, entry, record, returned, base, cause)
  for _, count in ipairs(record.counts) do
    local delta = metric_at(record, count[4], returned + base)
      - metric_at(record, count[4], returned)
    if delta ~= 0 then
      tally(entry, shard, count, nil, delta, 0)
    end
  end
  if record.up then
    reverse_up(entry, record.up, base, cause)
  end
end

-- Apply a return of `base` to a record: money, and unless it waits for the profile all else.
local function give_back(shard, entry, record, base, cause, line)
  take_share(entry, record, base, line)
  if not record.waiting then
    count_back(shard, entry, record, record.returned - base, base, cause)
  end
end

-- The earning counts in campaigns and goes up the tree: at once, or when the profile has come.
-- `returned` of it came back before.
local function take_effect(shard, entry, record, counts, returned)
  record.counts = {}
  entry.on_hold = record.tier ~= 'instant'
  for i, count in ipairs(counts) do
    local campaign = shard.context.campaigns[count[1]]
    local kept = {campaign.id, count[2], count[3], campaign.metric, count[4]}
    record.counts[i] = kept
    local delta = metric_at(record, campaign.metric, returned)
    if delta ~= 0 then
      tally(entry, shard, kept, campaign, delta, record.occurred)
    end
  end
  if record.up then
    pass_up(entry, record)
  end
end

-- Whether a seller has never sold before. Her feature state says so, from before any campaign asked:
-- behind its format, last time and first day (models/features.py) it counts her sales, in 16 bits.
local function never_sold(shard, seller)
  -- Base64: the 16 bits of the count are what the tenth character has behind its first two bits, and the two
  -- that follow.
  local state = get(shard, 'x:s:' .. seller)
  return not state or state:find('^.........[AQgw]AA') ~= nil
end

local function store(shard, entry, suffix, record)
  keep_record(entry, suffix, record, forget_at(shard))
end

-- Early returns and labels wait for their sale.
local function park(shard, entry, record, item)
  local name = entry.op.record
  if #record.early >= EARLY_MAX then
    return 'refused:too_many_waiting'
  end
  record.early[#record.early + 1] = item
  local text = encode(record)
  if #text > EARLY_BYTES_MAX then
    return 'refused:too_many_waiting'
  end
  write(entry, 'SET', 'r:' .. name, text)
  write(entry, 'ZADD', 't', 'NX', shard.now + shard.context.wait_ms, 'early:' .. name)
  count_by(entry, shard, 'parked', 1)
  entry.extra.parked = '"' .. name .. '"'
  commit(shard, entry)
  return 'parked'
end

-- A sale that would be held may be let through by chance, as far as the shard's part of the day (UTC) goes.
-- E has, by currency, "<day>,<minor>": what was. Otherwise it is held as `op.explore.decision` says.
local function explored(entry, shard, op)
  local day, before = floor(shard.now / DAY_MS), 0
  local of, minor = (call('HGET', shard.prefix .. 'E', op.currency) or ''):match('^(%d+),(%d+)$')
  if of and tonumber(of) >= day then -- also when a clock goes back
    day, before = tonumber(of), tonumber(minor)
  end
  local after, most = before + op.amount, op.explore.most
  if after > most then
    op.tier, op.decision, op.sold = 'hold', op.explore.decision, op.explore.sold
    if op.up then
      op.up.held = true
    end
    return
  end
  write(entry, 'HSET', 'E', op.currency, int(day) .. ',' .. int(after))
  entry.extra.explored = format('["%s",%s,%s,%s,%s]', op.currency, int(day), int(op.amount), int(after),
    int(most))
end

-- Hold all but a share of what an earning brought for review; how much that is. The journal is told the
-- share, rounded down, and of what.
local function hold_rest(entry, kept, share)
  local held = kept - part(kept, share)
  move(entry, 'available', 'held', held)
  entry.extra.partial = format('[%s,%s,%s]', int(share), int(kept), int(held))
  return held
end

-- op: record "s:<id>" or "c:<id>", currency, base, amount, tier, occurred, rev, counts
-- {{campaign index, period, forget ms, near (of a streak, or nil)}}, first (whether to look if it is her
-- first sale), lines ({<id> = {amount, 0}} or nil), up, pay, reinvest, schedule (terms or nil), decision,
-- state, explore (of one that is let through by chance: most of it on a day, and decision and sold beyond
-- that; or nil), share (of a partial one: basis points that are not held), waiting (profile missing), sold (of one that
-- waits or is held: what schedules look at), subject (of a sale). Outcomes: booked; refused sale_reused,
-- too_many_waiting.
function operations.earn(shard, op)
  local suffix = 'r:' .. op.record
  local stored = get(shard, suffix)
  local early
  if stored then
    early = decode(stored).early
    if not early then
      return 'refused:sale_reused'
    end
  end
  if op.waiting and call('LLEN', shard.prefix .. 'q:' .. op.seller) >= WAITING_MAX then
    return 'refused:too_many_waiting'
  end
  local entry = new_entry(shard, op, op.kind, op.currency)
  entry.extra.volume = '["' .. op.currency .. '",' .. int(op.base) .. ']'
  if op.explore then
    explored(entry, shard, op)
  end
  local record = {seller = op.seller, currency = op.currency, base = op.base, amount = op.amount,
    returned = 0, reversed = 0, held = 0, tier = op.tier, occurred = op.occurred, counts = {},
    up = op.up, waiting = op.waiting, lines = op.lines, subject = op.subject, first = op.first and never_sold(shard, op.seller) or nil}
  local instant = (op.tier == 'instant' or op.tier == 'partial') and not op.waiting
  local kept = work_off(entry, shard, '/commissions', instant and 'available' or 'held', op.amount,
    op.amount, 0)
  if not instant then
    record.held = kept
    record.worked = kept < op.amount and op.amount - kept or nil
  elseif op.tier == 'partial' then
    record.held = hold_rest(entry, kept, op.share)
    record.worked = kept < op.amount and op.amount - kept or nil
  end
  local held = instant and record.held or 0
  for line, figures in pairs(op.lines or {}) do
    note_line(entry, op.record, line, 'sold', figures[1])
  end
  local back = early and take_early(shard, entry, record, early)
  note_held(entry, shard, op.record, record, 0, 'held')
  record.sold = record.held > 0 and op.sold or nil
  -- What returns ahead of it took came of what is held first.
  local gained = kept - held - record.reversed + (held > 0 and held - record.held or 0)
  if op.schedule and instant then
    gained = gained - releases.hold(entry, shard, op.record, record, gained, op.schedule,
      op.amount - kept)
  end
  if op.reinvest and instant then
    reinvest.standing(entry, shard, record, gained, op.reinvest, op.record)
  end
  if op.waiting then
    count_by(entry, shard, 'waiting', 1)
    write(entry, 'RPUSH', 'q:' .. op.seller, encode({record = op.record, occurred = op.occurred,
      base = op.base, currency = op.currency, sale = op.sale, origin = op.origin, level = op.level,
      held = op.held, occurred_at = op.occurred_at, ref = op.id, returned = record.returned,
      sold = op.sold, back = back}))
    write(entry, 'ZADD', 't', 'NX', shard.now + shard.context.wait_ms, 'wait:' .. op.seller)
  end
  if not op.waiting then
    take_effect(shard, entry, record, op.counts, record.returned)
    reverse_each(entry, record, back)
  end
  store(shard, entry, suffix, record)
  if op.state then
    write(entry, 'SET', 'x:s:' .. op.seller, op.state)
  end
  if op.decision then
    publish(entry, 'decisions', op.seller, op.decision)
  end
  entry.extra.tier = '"' .. (op.waiting and 'hold' or op.tier) .. '"'
  if op.waiting then
    entry.extra.waiting = '"' .. op.record .. '"'
  end
  if op.pay and instant then
    reserve(entry, shard, op.pay, op.occurred)
  end
  commit(shard, entry)
  return 'booked'
end

-- A return of a recorded sale or commission. op: record, currency, base, line (or nil), state, raw and headers
-- (the dead letter it becomes if its sale never comes). Outcomes: booked; parked (ahead of its
-- sale); refused seller_mismatch, currency_mismatch, return_exceeds_sale, unknown_line,
-- return_exceeds_line, too_many_waiting.
function operations.reverse(shard, op)
  local suffix = 'r:' .. op.record
  local stored = get(shard, suffix)
  local record = stored and decode(stored) or {early = {}}
  local entry = new_entry(shard, op, op.kind, op.currency)
  entry.extra.volume = '["' .. op.currency .. '",' .. int(op.base) .. ']'
  if op.state then
    write(entry, 'SET', 'x:s:' .. op.seller, op.state)
  end
  if record.early then
    return park(shard, entry, record, {id = op.id, base = op.base, currency = op.currency,
      line = op.line, raw = op.raw, headers = op.headers, seller = op.seller})
  end
  local reason = misfit(record, op)
  if reason then
    return 'refused:' .. reason
  end
  if record.waiting then
    -- It counts behind its sale when the profile comes, in the order in which both came.
    if call('LLEN', shard.prefix .. 'q:' .. op.seller) >= WAITING_MAX then
      return 'refused:too_many_waiting'
    end
    count_by(entry, shard, 'waiting', 1)
    write(entry, 'RPUSH', 'q:' .. op.seller, encode({give = true, record = op.record, base = op.base,
      ref = op.id}))
    write(entry, 'ZADD', 't', 'NX', shard.now + shard.context.wait_ms, 'wait:' .. op.seller)
  end
  local held = record.held
  give_back(shard, entry, record, op.base, op.id, op.line)
  note_held(entry, shard, op.record, record, held, 'taken')
  store(shard, entry, suffix, record)
  commit(shard, entry)
  return 'booked'
end

-- The other effects of a return without a receipt: campaign totals and the upline's share.
local function take_effect_back(shard, entry, item, counts, up)
  for _, count in ipairs(counts) do
    local campaign = shard.context.campaigns[count[1]]
    local delta = 0
    if campaign.metric == 'volume' then
      delta = -item.base
    elseif campaign.metric == 'earnings' then
      delta = -item.amount
    end
    if delta ~= 0 then
      tally(entry, shard, {campaign.id, count[2], count[3], campaign.metric, count[4]}, nil, delta, 0)
    end
  end
  if up then
    reverse_up(entry, up, item.base, item.ref)
  end
end

-- A return without a receipt. op: currency, base, amount (to take back), occurred, occurred_at, rev,
-- counts, up, waiting (profile missing), sale, origin, level. Outcomes: booked; refused
-- too_many_waiting.
function operations.take(shard, op)
  if op.waiting and call('LLEN', shard.prefix .. 'q:' .. op.seller) >= WAITING_MAX then
    return 'refused:too_many_waiting'
  end
  local entry = new_entry(shard, op, op.kind, op.currency)
  entry.extra.volume = '["' .. op.currency .. '",' .. int(op.base) .. ']'
  take_back(entry, {held = 0}, op.amount)
  local item = {take = true, ref = op.id, base = op.base, amount = op.amount, currency = op.currency,
    occurred = op.occurred, occurred_at = op.occurred_at, sale = op.sale, origin = op.origin,
    level = op.level, held = op.held}
  if op.waiting then
    count_by(entry, shard, 'waiting', 1)
    write(entry, 'RPUSH', 'q:' .. op.seller, encode(item))
    write(entry, 'ZADD', 't', 'NX', shard.now + shard.context.wait_ms, 'wait:' .. op.seller)
    entry.extra.waiting = '"' .. op.id .. '"'
  else
    take_effect_back(shard, entry, item, op.counts, op.up)
  end
  if op.state then
    write(entry, 'SET', 'x:s:' .. op.seller, op.state)
  end
  commit(shard, entry)
  return 'booked'
end
