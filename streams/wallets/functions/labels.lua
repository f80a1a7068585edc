-- Labels: what somebody says of a sale days later. What is held of its earnings is released, or forfeited with
-- what is pending of them; and what the label tells of a card or a device is sent where that is kept.
--
-- A label goes up the tree as its sale did, hop by hop, to everyone who earned by it.

local function teach(entry, op)
  for _, lesson in ipairs(op.lessons or {}) do
    publish(entry, op.topic, lesson[1], lesson[2])
  end
end

-- The same of the commission above.
local function label_up(entry, record)
  local op, up = entry.op, record.up
  if not up or not up.commission then
    return
  end
  local id = uuid5(op.id .. '/' .. up.commission)
  publish(entry, 'commissions', up.to, '{"type":"commission.labelled","id":"' .. id .. '","verdict":"'
    .. op.verdict .. '","by":' .. encode(op.by) .. ',"reason":' .. encode(op.reason) .. ','
    .. upline_body(up, entry.currency, up.amount, record.base))
  entry.emits[#entry.emits + 1] = id
end

-- Thresholds whose money was not given while the sale was held: they are looked at again.
local function count_again(shard, entry, record, counts)
  local mine = {}
  for _, kept in ipairs(record.counts) do
    mine[kept[1] .. '/' .. kept[2]] = kept
  end
  for _, count in ipairs(counts) do
    local campaign = shard.context.campaigns[count[1]]
    local kept = mine[campaign.id .. '/' .. count[2]]
    if kept then
      tally(entry, shard, kept, campaign, 0, record.occurred)
    end
  end
end

-- The sale is genuine. What waited for a profile in vain takes effect now.
local function clear(shard, entry, record)
  local op, release = entry.op, entry.op.release
  entry.kind = 'earning.cleared'
  record.tier = 'instant'
  set_free(entry, shard, op.record, record, release)
  if record.waiting then
    record.waiting, record.shown = nil, nil
    record.up = release.up
    take_effect(shard, entry, record, release.counts, record.returned)
    if record.up and record.returned > 0 then
      reverse_up(entry, record.up, record.returned, op.id)
    end
  else
    if record.up then
      record.up.held = nil
    end
    count_again(shard, entry, record, release.counts)
    label_up(entry, record)
  end
  if release.pay then
    reserve(entry, shard, release.pay, record.occurred)
  end
end

-- The sale is a fraud. What of it was under review counts in no campaign any more. Returns what is given up.
local function forfeit(shard, entry, record)
  local op, held = entry.op, record.held
  move(entry, 'held', '/commissions', held)
  record.held, record.sold = 0, nil
  note_held(entry, shard, op.record, record, held, 'forfeited')
  local given_up = held + releases.take_back(entry, record, EXACT_MAX, 'forfeited')
  if record.tier ~= 'instant' then
    local counts = record.counts
    record.counts = {}
    for _, count in ipairs(counts) do
      local delta = -metric_at(record, count[4], record.returned)
      if delta ~= 0 then
        tally(entry, shard, count, nil, delta, 0)
      end
    end
  end
  if given_up > 0 or record.tier ~= 'instant' then
    entry.kind = 'earning.forfeited'
    record.forfeited = given_up
  end
  label_up(entry, record)
  return given_up
end

-- What of a fraud the label did not reach: it is with the seller, or was paid.
local function gone_of(record)
  return record.amount - record.reversed - (record.forfeited or 0)
end

-- op: record "s:<id>" or "c:<id>", currency, verdict, by, reason, found (whether it was there when this was
-- decided), again (the label's JSON under another id, to be sent once more if its sale has not come), lessons
-- {{key, JSON}, …}, release {counts, up, pay, reinvest, schedule} (of one that is cleared and may be released:
-- its seller's profile is there), raw, headers (the dead letter it becomes if its sale never comes).
-- The first label that says genuine releases, the first that says fraud forfeits, and nothing is released
-- behind that. A label that moves nothing is booked as well, and goes up: it teaches, if it says other than the
-- one before.
-- Outcomes: booked; parked (ahead of its sale); retry (the sale has come); refused seller_mismatch,
-- not_independent, too_many_waiting.
function operations.label(shard, op)
  local suffix = 'r:' .. op.record
  local stored = get(shard, suffix)
  local record = stored and decode(stored) or {early = {}}
  if record.early then
    return park(shard, new_entry(shard, op, op.kind, 'XXX'), record, {id = op.id, again = op.again,
      topic = op.topic, raw = op.raw, headers = op.headers, seller = op.seller})
  elseif not op.found then
    return 'retry'
  elseif record.seller ~= op.seller then
    return 'refused:seller_mismatch'
  elseif op.by == op.seller or (record.up and op.by == record.up.to and op.record:sub(1, 2) == 's:') then
    return 'refused:not_independent'
  end
  local entry = new_entry(shard, op, op.kind, record.currency)
  local fraud, before, given_up = op.verdict ~= 'cleared', record.verdict, 0
  local news = not before or fraud == (before == 'cleared')
  if fraud and not record.forfeited then
    given_up = forfeit(shard, entry, record)
  elseif not fraud and not record.forfeited and (record.tier ~= 'instant' or record.waiting) then
    if op.release then
      clear(shard, entry, record)
    else
      record.tier = 'instant'  -- the profile is awaited, and then it is released
    end
  else
    -- She who earns above it may have been suspended, or have said so before herself.
    label_up(entry, record)
  end
  record.verdict = op.verdict
  if news then
    teach(entry, op)
  end
  entry.extra.label = '["' .. op.record .. '","' .. record.currency .. '","' .. op.verdict .. '",'
    .. encode(op.by) .. ',' .. encode(op.reason) .. ',' .. int(given_up) .. ','
    .. int(fraud and news and gone_of(record) or 0) .. ']'
  store(shard, entry, suffix, record)
  commit(shard, entry)
  return 'booked'
end

-- What a label says of a card or a device. op: entity, state, ttl_ms. Only whoever takes its shard's messages
-- writes it, in their order, so that no label is lost to another. Outcomes: booked.
function operations.learn(shard, op)
  local entry = new_entry(shard, op, op.kind, 'XXX')
  write(entry, 'SET', 'x:' .. op.entity, op.state, 'PXAT', shard.now + op.ttl_ms)
  commit(shard, entry)
  return 'booked'
end
