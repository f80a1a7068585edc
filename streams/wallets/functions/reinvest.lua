-- Reinvesting: earnings become credit, by the seller's standing preference or when she asks for it.
--
-- What she reinvested of a currency is one lot: her own money, free of restrictions, without an end. One
-- lot and not one for each earning, since a purchase is paid from a bounded number of lots. The bonus on
-- it is the house's, in a lot for each day on which bonuses expire. In place of a campaign these lots have
-- a word that no campaign can have. A campaign's bonus comes on top, in lots of the campaign; with a budget it
-- may have to wait for a slice.
--
-- An earning becomes available in parts: when it is booked, when it is cleared, when its time comes. Its record
-- (earn.lua) keeps for returns what was reinvested of each, part behind part, five words each of which the
-- last part has no more than it needs, and campaigns' bonuses:
--   reinvested {amount, so much of it is taken back, bonus, so much of that is undone, lot of the bonus, …}
--   boosted {{campaign, its lot, bonus (0 while it waits), so much of it is undone, 1 if of a budget, number of
--   the part, unless it is the first}, …}
-- A version before this one wrote the first part like that, and the second, the last that it knew, as `again` and
-- `boosted_again`. So each reads the first part of the other.
--
-- An earning may cost a tenth more for this, so a lot's text is added to as it is, not taken apart.

local reinvest = {OWN = ',0,@reinvested,,,', BONUS = ',@reinvest-bonus,,,'}
-- Words of a part in a record.
local WORDS = 5

-- Whole days, and so many at least; 0 for ever.
local function bonus_end(days, now)
  return days > 0 and (floor(now / DAY_MS) + days + 1) * DAY_MS or 0
end

-- The lot of a bonus that ends then. `campaign`: its id and a dot, or nothing.
local function bonus_lot(currency, expires, campaign)
  local day = expires > 0 and '.' .. int(expires / DAY_MS) or ''
  return 'reinvest-bonus.' .. (campaign or '') .. currency .. day
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
  local expires = bonus_end(days, shard.now)
  local lot = bonus_lot(currency, expires)
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

-- A campaign's bonus, or what waited of it.
function reinvest.reward(entry, shard, campaign, lot, expires, minor)
  local key = 'l:' .. entry.seller
  local before = call('HGET', shard.prefix .. key, lot)
  move(entry, '/spendback', 'credit', minor)
  note_lot(entry, lot, 'granted', 'left', minor)
  write(entry, 'HSET', key, lot, reinvest.more(before, entry.currency, minor, ',' .. int(expires) .. ','
    .. campaign .. ',,,'))
  if expires > 0 and not before then
    write(entry, 'ZADD', 't', expires, 'lot:' .. entry.seller .. ':' .. lot)
  end
end

-- Campaigns' bonuses on an amount that is reinvested: {campaign, rate, days, whole budget or 0} each.
-- `what`: the record or request that it is of. Returns what was given at once, and what to keep of them.
function reinvest.boost(entry, shard, minor, boosts, what)
  local sum, kept = 0, {}
  for _, one in ipairs(boosts or {}) do
    local campaign, bonus, expires, whole = one[1], part(minor, one[2]), bonus_end(one[3], shard.now), one[4]
    local lot = bonus_lot(entry.currency, expires, campaign .. '.')
    local budget = bonus > 0 and whole > 0 and budget_of(entry, shard, campaign, entry.currency)
    if bonus > 0 and (not budget or draw(entry, budget, bonus)) then
      reinvest.reward(entry, shard, campaign, lot, expires, bonus)
      sum = sum + bonus
      kept[#kept + 1] = {campaign, lot, bonus, 0, budget and 1 or 0}
    elseif budget and not is_spent(shard, budget, whole) then
      wait_for_slice(entry, shard, budget, bonus, format('0:@:0:%s:%s:%s/%s', int(expires), int(bonus),
        entry.seller, what))
      kept[#kept + 1] = {campaign, lot, 0, 0, 1}
    end
  end
  return sum, kept
end

-- A further part of a record, and campaigns' bonuses on it.
local function add_part(record, number, part, boosted)
  local words = record.reinvested or {}
  while #words < (number - 1) * WORDS do
    words[#words + 1] = 0
  end
  for _, word in ipairs(part) do
    words[#words + 1] = word
  end
  record.reinvested = words
  for _, one in ipairs(boosted or {}) do
    one[6] = number > 1 and number or nil
    record.boosted = record.boosted or {}
    record.boosted[#record.boosted + 1] = one
  end
end

-- How many parts a record has; what another version put apart is behind the others then.
local function parts_of(record)
  local count = math.ceil(#(record.reinvested or {}) / WORDS)
  if record.again then
    count = count + 1
    add_part(record, count, record.again, record.boosted_again)
    record.again, record.boosted_again = nil, nil
  end
  return count
end

-- What a record or a part of it is called where a campaign's bonus waits. The second part was "again" once.
local function name_of(what, number)
  return number > 1 and what .. '/' .. int(number) or what
end

local function part_named(name)
  local what, number = name:gsub('/again$', '/2'):match('^(.*)/(%d+)$')
  return what or name, tonumber(number or 1)
end

-- How a campaign's bonus on a part of a record is kept.
local function boosted_by(record, campaign, number)
  for _, one in ipairs(record.boosted or {}) do
    if one[1] == campaign and (one[6] or 1) == number then
      return one
    end
  end
end

-- A bonus has waited for a slice: it is given, less what returns have undone of it meanwhile, or nothing is.
function reinvest.settle(shard, op, member)
  local expires, amount, seller, name = member:match('^0:@:0:(%d+):(%d+):([^/]*)/(.*)$')
  local what, number = part_named(name)
  local settling = {id = op.id .. '/' .. member, seller = seller}
  local entry = new_entry(shard, settling, 'reinvestment.rewarded', op.currency)
  write(entry, 'ZREM', 'bw:' .. op.campaign .. ':' .. op.currency, member)
  local key, bonus, undone = 'r:' .. what, tonumber(amount), 0
  local record = get(shard, key)
  record = record and decode(record) or {}
  local kept = number <= parts_of(record) and boosted_by(record, op.campaign, number)
  if kept then
    local at = (number - 1) * WORDS
    undone = ratio(bonus, record.reinvested[at + 2], record.reinvested[at + 1])
  end
  local minor = bonus - undone
  if minor > 0 and draw(entry, budget_of(entry, shard, op.campaign, op.currency), minor) then
    expires = tonumber(expires)
    reinvest.reward(entry, shard, op.campaign, bonus_lot(op.currency, expires, op.campaign .. '.'), expires,
      minor)
    if kept then
      kept[3], kept[4] = bonus, undone
      local until_ms = call('PEXPIRETIME', shard.prefix .. key)
      keep_record(entry, key, record, until_ms > 0 and until_ms or nil)
    end
  end
  commit(shard, entry)
end

-- An earning is available, `gained` of it, debt and returns ahead of it taken off: reinvest what the
-- seller wants. terms {percent (of the earning, half to even; the rest is what is left, so that nothing is
-- lost), so much of what is available is not reinvested, rate and days of the bonus, campaigns' bonuses}.
function reinvest.standing(entry, shard, record, gained, terms, what)
  local free = entry.draft.available - terms[2]
  local minor = gained > 0 and ratio(gained, terms[1], 100) or 0
  minor = minor < free and minor or free
  if minor > 0 then
    local number = parts_of(record) + 1
    local bonus, lot = reinvest.convert(entry, shard, minor, terms[3], terms[4])
    local boosted = terms[5] and select(2, reinvest.boost(entry, shard, minor, terms[5],
      name_of(what, number)))
    add_part(record, number, lot and {minor, 0, bonus, 0, lot} or {minor, 0}, boosted)
  end
end

-- Of one part of a record, and of the bonuses on it.
local function take_back_of(entry, record, number, minor)
  local words, at = record.reinvested, (number - 1) * WORDS
  local made, back = words[at + 1], words[at + 2]
  local due = made - back < minor and made - back or minor
  back = back + due
  words[at + 2] = back
  local bonus, lot = words[at + 3] or 0, words[at + 5]
  if bonus > 0 then
    local undone = ratio(bonus, back, made)
    reinvest.withdraw(entry, entry.shard, lot, undone - words[at + 4], '/spendback')
    words[at + 4] = undone
  end
  for _, one in ipairs(record.boosted or {}) do
    if (one[6] or 1) == number then
      local undone = ratio(one[3], back, made)
      local taken = reinvest.withdraw(entry, entry.shard, one[2], undone - one[4], '/spendback')
      one[4] = undone
      undraw(entry, entry.shard, {campaign = one[1], budgeted = one[5] == 1}, taken)
    end
  end
  return reinvest.withdraw(entry, entry.shard, 'reinvested.' .. entry.currency, due, '/commissions')
end

-- An earning is taken back, and this much of it is not held: it comes out of what was reinvested of it,
-- as far as that is unspent, the last part first. The bonus goes in proportion, as if nothing were spent; what
-- of it is spent stays so. Returns how much is taken back with that.
function reinvest.take_back(entry, record, minor)
  local taken = 0
  for number = parts_of(record), 1, -1 do
    taken = taken + take_back_of(entry, record, number, minor - taken)
  end
  return taken
end

-- A seller asks for it once. op: currency, amount (without it all that is available), bonus (rate, days,
-- campaigns' bonuses).
-- Outcomes: booked; refused unknown_seller, seller_suspended, nothing_available, insufficient_funds.
function operations.reinvest(shard, op)
  local reason = barred(shard, op.seller)
  if reason then
    return 'refused:' .. reason
  end
  local entry = new_entry(shard, op, op.kind, op.currency)
  local minor = op.amount or entry.draft.available
  if minor <= 0 then
    return 'refused:nothing_available'
  elseif minor > entry.draft.available then
    return 'refused:insufficient_funds'
  end
  local bonus = reinvest.convert(entry, shard, minor, op.bonus[1], op.bonus[2])
  bonus = bonus + reinvest.boost(entry, shard, minor, op.bonus[3], 'o:' .. op.id)
  entry.told = '"reinvested":[' .. int(minor) .. ',' .. int(bonus) .. ']'
  commit(shard, entry)
  return 'booked'
end
