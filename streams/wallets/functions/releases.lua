-- Releases: a share of an earning is pending until the time for returns has passed, then it is available.
--
-- What is pending of an earning is a lot of its own under L:<seller>, by the name of the earning's record
-- ("s:<sale>" or "c:<commission>"), and a timer "rel:<seller>/<currency>/<record>" ends it:
--   "<currency>,<left>,<held back at first>,<until ms>,<reason>,<earned>,<worked>"
-- earned: by the whole earning, less what came back of it; worked: what of it has paid debt. They stand here
-- because a record is forgotten after a while, and a lot is not.
-- L has, by currency, what is pending in all of the shard.

local releases = {}

function releases.timer(seller, currency, name)
  return 'rel:' .. seller .. '/' .. currency .. '/' .. name
end

local function pending_lot(shard, seller, name)
  local text = call('HGET', shard.prefix .. 'L:' .. seller, name)
  local currency, left, held, due, reason, earned, worked =
    (text or ''):match('^(%u+),(%d+),(%d+),(%d+),([%w_]+),(%d+),(%d+)$')
  return currency and {name = name, currency = currency, left = tonumber(left), held = tonumber(held),
    due = tonumber(due), reason = reason, earned = tonumber(earned), worked = tonumber(worked)} or nil
end

-- Keep a lot of which so much more, or less, is left: one that has nothing left ends, and its timer.
-- The journal is told: held, taken, released or forfeited. An entry changes one lot at most.
local function change_pending(entry, shard, lot, what, more)
  local key, timer = 'L:' .. entry.seller, releases.timer(entry.seller, lot.currency, lot.name)
  lot.left = lot.left + more
  if lot.left == 0 then
    write(entry, 'HDEL', key, lot.name)
    write(entry, 'ZREM', 't', timer)
  else
    write(entry, 'HSET', key, lot.name, lot.currency .. ',' .. int(lot.left) .. ',' .. int(lot.held) .. ','
      .. int(lot.due) .. ',' .. lot.reason .. ',' .. int(lot.earned) .. ',' .. int(lot.worked))
    if what == 'held' then
      write(entry, 'ZADD', 't', lot.due, timer)
    end
  end
  local all = tonumber(call('HGET', shard.prefix .. 'L', lot.currency) or 0) + more
  write(entry, 'HSET', 'L', lot.currency, all)
  entry.extra.pending = format('["%s","%s","%s",%s,%s,%s,"%s"]', lot.name, lot.currency, what,
    int(more < 0 and -more or more), int(lot.left), int(lot.due), lot.reason)
end

-- An earning is available, `gained` of it: hold its share back. terms {basis points of the earning (half to
-- even), until when in ms, reason}; name: of its record; worked: what of it has paid debt. What came back of
-- it is taken of the share first, as if it came later. Nothing is held back if the time is over. Returns
-- how much is held back.
function releases.hold(entry, shard, name, record, gained, terms, worked)
  local share = ratio(record.amount, terms[1], 10000) - record.reversed
  local minor = share < gained and share or gained
  if minor <= 0 or terms[2] <= shard.now then
    return 0
  end
  move(entry, 'available', 'pending', minor)
  record.pending = true
  entry.extra.schedule = format('[%s,%s,%s,%s]', int(terms[1]), int(record.amount), int(record.reversed),
    int(gained))
  change_pending(entry, shard, {name = name, currency = entry.currency, left = 0, held = minor,
    due = terms[2], reason = terms[3], earned = record.amount - record.reversed, worked = worked},
    'held', minor)
  return minor
end

-- An earning is taken back, or forfeited: what is pending of it. Returns how much that is.
function releases.take_back(entry, record, minor, what)
  local lot = record.pending and minor > 0 and pending_lot(entry.shard, entry.seller, entry.op.record)
  if not lot then
    return 0
  end
  local taken = lot.left < minor and lot.left or minor
  move(entry, 'pending', '/commissions', taken)
  lot.earned = lot.earned - taken
  change_pending(entry, entry.shard, lot, what or 'taken', -taken)
  if lot.left == 0 then
    record.pending = nil
  end
  return taken
end

-- A lot's time has come: what is left of it goes on like an earning, to debt, to credit, to a payout.
-- op: seller, record (its name), currency, timer, due, reinvest and pay (terms or nil), rev. Outcomes:
-- booked; ignored.
function operations.release(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  local lot = pending_lot(shard, op.seller, op.record)
  if not due or tonumber(due) ~= op.due or not lot then
    return 'ignored:gone'
  elseif shard.now < op.due then
    return 'ignored:early'
  end
  local suffix = 'r:' .. op.record
  local stored = get(shard, suffix)
  local record = stored and decode(stored) or {}
  local entry = new_entry(shard, op, 'pending.released', lot.currency)
  local left = lot.left
  -- Through a house account that ends at zero, so that debt which arose meanwhile is worked off.
  move(entry, 'pending', '/transit', left)
  change_pending(entry, shard, lot, 'released', -left)
  local kept = work_off(entry, shard, '/transit', 'available', lot.earned, left, lot.worked)
  if op.reinvest then
    reinvest.standing(entry, shard, record, kept, op.reinvest, op.record)
  end
  if record.pending then
    record.pending = nil
    keep_record(entry, suffix, record, forget_at(shard))
  end
  if op.pay then
    reserve(entry, shard, op.pay, op.due)
  end
  commit(shard, entry)
  return 'booked'
end
