-- Reinvesting: earnings become credit, by the seller's standing preference or when she asks for it.
--
-- What she reinvested of a currency is one lot: her own money, free of restrictions, without an end. One
-- lot and not one for each earning, since a purchase is paid from a bounded number of lots. The bonus on
-- it is the house's, in a lot for each day on which bonuses expire. In place of a campaign these lots have
-- a word that no campaign can have.
--
-- The record of an earning (earn.lua) keeps what of it was reinvested, for returns, as
--   reinvested {amount, so much of it is taken back, bonus, so much of that is undone, lot of the bonus}
-- and, if a part of it was released later, `again`, the same of that part.
--
-- An earning may cost a tenth more for this, so a lot's text is added to as it is, not taken apart.

local reinvest = {OWN = ',0,@reinvested,,,', BONUS = ',@reinvest-bonus,,,'}

local function bonus_lot(currency, days, now)
  if days == 0 then
    return 'reinvest-bonus.' .. currency, 0
  end
  -- Whole days, and so many at least.
  local day = floor(now / DAY_MS) + days + 1
  return 'reinvest-bonus.' .. currency .. '.' .. int(day), day * DAY_MS
end

-- The text of a lot that has so much more in it; of a new one without `before`. `rest`: its end.
function reinvest.more(before, currency, minor, rest)
  local left, granted = 0, 0
  if before then
    left, granted = before:match('^%u+,(%d+),(%d+),')
  end
  return currency .. ',' .. int(left + minor) .. ',' .. int(granted + minor) .. rest
end

-- Take out of a lot as much of an amount as is left of it; how much that is.
function reinvest.withdraw(entry, shard, id, minor, to)
  local lot = minor > 0 and lot_at(entry, shard, id)
  local taken = lot and (lot.left < minor and lot.left or minor) or 0
  if taken > 0 then
    lot.left = lot.left - taken
    move(entry, 'credit', to, taken)
    note_lot(entry, id, 'left', 'reversed', taken)
    put_lot(entry, lot)
  end
  return taken
end

-- Turn an amount of what is available into credit, with the bonus on it: `rate` in basis points, rounded
-- down, that can be spent for so many days, or for ever. Nothing else in an entry touches these lots.
-- Returns the bonus and its lot.
function reinvest.convert(entry, shard, minor, rate, days)
  local currency, key = entry.currency, 'l:' .. entry.seller
  local own, bonus = 'reinvested.' .. currency, part(minor, rate)
  move(entry, 'available', 'credit', minor)
  note_lot(entry, own, 'reinvested', 'left', minor)
  if bonus == 0 then
    local before = call('HGET', shard.prefix .. key, own)
    write(entry, 'HSET', key, own, reinvest.more(before, currency, minor, reinvest.OWN))
    return 0
  end
  local lot, expires = bonus_lot(currency, days, shard.now)
  local before = call('HMGET', shard.prefix .. key, own, lot)
  move(entry, '/spendback', 'credit', bonus)
  note_lot(entry, lot, 'granted', 'left', bonus)
  write(entry, 'HSET', key, own, reinvest.more(before[1], currency, minor, reinvest.OWN), lot,
    reinvest.more(before[2], currency, bonus, ',' .. int(expires) .. reinvest.BONUS))
  if expires > 0 and not before[2] then
    write(entry, 'ZADD', 't', expires, 'lot:' .. entry.seller .. ':' .. lot)
  end
  return bonus, lot
end

-- An earning is available, `gained` of it, debt and returns ahead of it taken off: reinvest what the
-- seller wants. terms {percent (of the earning, half to even; the rest is what is left, so that nothing is
-- lost), so much of what is available is not reinvested, rate and days of the bonus}.
function reinvest.standing(entry, shard, record, gained, terms)
  local free = entry.draft.available - terms[2]
  local minor = gained > 0 and ratio(gained, terms[1], 100) or 0
  minor = minor < free and minor or free
  if minor > 0 then
    local bonus, lot = reinvest.convert(entry, shard, minor, terms[3], terms[4])
    record[record.reinvested and 'again' or 'reinvested'] = {minor, 0, bonus, 0, lot}
  end
end

-- The part of a record that was reinvested at one time: `of`.
local function take_back_of(entry, of, minor)
  local due = of[1] - of[2]
  due = due < minor and due or minor
  of[2] = of[2] + due
  if of[5] then
    local undone = ratio(of[3], of[2], of[1])
    reinvest.withdraw(entry, entry.shard, of[5], undone - of[4], '/spendback')
    of[4] = undone
  end
  return reinvest.withdraw(entry, entry.shard, 'reinvested.' .. entry.currency, due, '/commissions')
end

-- An earning is taken back, and this much of it is not held: it comes out of what was reinvested of it,
-- as far as that is unspent. The bonus goes in proportion, as if nothing were spent; what of it is spent
-- stays so. Returns how much is taken back with that.
function reinvest.take_back(entry, record, minor)
  local taken = record.again and take_back_of(entry, record.again, minor) or 0
  if record.reinvested then
    taken = taken + take_back_of(entry, record.reinvested, minor - taken)
  end
  return taken
end

-- A seller asks for it once. op: currency, amount (without it all that is available), bonus (rate, days).
-- Outcomes: booked; refused unknown_seller, seller_suspended, nothing_available, insufficient_funds.
function operations.reinvest(shard, op)
  local profile = profile_of(shard, op.seller)
  if not profile then
    return 'refused:unknown_seller'
  elseif profile.status == 'suspended' then
    return 'refused:seller_suspended'
  end
  local entry = new_entry(shard, op, op.kind, op.currency)
  local minor = op.amount or entry.draft.available
  if minor <= 0 then
    return 'refused:nothing_available'
  elseif minor > entry.draft.available then
    return 'refused:insufficient_funds'
  end
  local bonus = reinvest.convert(entry, shard, minor, op.bonus[1], op.bonus[2])
  entry.told = '"reinvested":[' .. int(minor) .. ',' .. int(bonus) .. ']'
  commit(shard, entry)
  return 'booked'
end
