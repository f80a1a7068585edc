-- The till: purchases that are paid from the wallet. Authorised first, then captured, whole or in parts;
-- what is not captured is released when the till says so or the authorisation ends; what was captured may
-- be refunded.

-- What was authorised is kept as JSON under a:<seller>/<authorisation>:
--   id, currency, amount (authorised in all), captured, refunded (of captured), released, expires (ms), at,
--   order, partial (less was there than asked for), ended ("voided", "expired", "captured": nothing of it is
--   left),
--   parts: where it comes from, in the order in which it is captured; refunds go back the other way round:
--     {lot, campaign, period, tier, granted, expires, only: as the lot was} or
--     {discount: as it was} or {account: "available"}, and amount, captured, refunded, released
--
-- As with a card, what is authorised stays good until the authorisation ends, also if its lot expires
-- or its grant is undone meanwhile. Only when money comes back is looked at what became of its lot.

-- Lots that one purchase is paid from, at most.
local PARTS_MAX = 100

local till = {}

function till.key(seller, authorisation)
  return 'a:' .. seller .. '/' .. authorisation
end

function till.left(of)
  return of.amount - of.captured - of.released
end

-- Whether a product of this group is among those that a lot or discount may be used for.
function till.covers(only, group)
  return only == '' or (group and ('|' .. only .. '|'):find('|' .. group .. '|', 1, true) ~= nil)
end

-- What is left to pay: in all, and of each line of the basket, {group, amount}.
function till.basket(op)
  local lines = {}
  for i, line in ipairs(op.lines or {}) do
    lines[i] = {line[1], line[2]}
  end
  return {rest = op.amount, lines = lines}
end

-- What is left to pay of what a lot or discount may be used for.
function till.open_for(basket, only)
  if only == '' then
    return basket.rest
  end
  local sum = 0
  for _, line in ipairs(basket.lines) do
    if till.covers(only, line[1]) then
      sum = sum + line[2]
    end
  end
  return sum < basket.rest and sum or basket.rest
end

-- Pay a part of the basket: the lines that it may be used for, in proportion.
function till.pay(basket, only, minor)
  local whole, before, paid = till.open_for(basket, only), 0, 0
  for _, line in ipairs(basket.lines) do
    if till.covers(only, line[1]) then
      before = before + line[2]
      local share = ratio(minor, before < whole and before or whole, whole) - paid
      paid = paid + share
      line[2] = line[2] - share
    end
  end
  basket.rest = basket.rest - minor
end

-- What a discount takes off a basket; 0 if the basket is not what it is for.
function till.worth(discount, basket)
  local base = till.open_for(basket, discount.only)
  if base < discount.min then
    return 0
  elseif not discount.bp then
    return discount.amount < base and discount.amount or base
  end
  local minor = part(base, discount.bp)
  return discount.cap > 0 and minor > discount.cap and discount.cap or minor
end

-- The discounts that take most off a basket: all that stack, or one. Each is of the whole basket.
function till.discounts_for(shard, op, basket)
  local flat = call('HGETALL', shard.prefix .. 'g:' .. op.seller)
  local stack, best = {minor = 0}, {minor = 0}
  local found = {}
  for i = 2, #flat, 2 do
    local discount = decode(flat[i])
    local expired = discount.expires > 0 and discount.expires <= shard.now
    local minor = discount.currency == op.currency and not expired and till.worth(discount, basket) or 0
    if minor > 0 then
      found[#found + 1] = {discount, minor}
    end
  end
  table.sort(found, function(a, b)
    if a[2] ~= b[2] then
      return a[2] > b[2]
    end
    return a[1].id < b[1].id
  end)
  for _, one in ipairs(found) do
    if one[1].stacks and #stack < PARTS_MAX then
      stack[#stack + 1] = one
      stack.minor = stack.minor + one[2]
    elseif one[2] > best.minor then
      best = {one, minor = one[2]}
    end
  end
  return stack.minor >= best.minor and stack or best
end

function till.add_part(entry, authorised, from, of, minor)
  of.amount, of.captured, of.refunded, of.released = minor, 0, 0, 0
  authorised.parts[#authorised.parts + 1] = of
  authorised.amount = authorised.amount + minor
  move(entry, from, 'authorised', minor)
end

function till.use_discounts(entry, shard, op, basket, authorised)
  for _, one in ipairs(till.discounts_for(shard, op, basket)) do
    local discount, minor = one[1], one[2]
    local open = till.open_for(basket, discount.only)
    minor = minor < open and minor or open
    if minor > 0 then
      till.pay(basket, discount.only, minor)
      discounts.drop(entry, discount, 'used')
      till.add_part(entry, authorised, '/discounts', {discount = discount}, minor)
    end
  end
end

-- Lots that may be spent on some products only come first, then the soonest expiry.
function till.use_lots(entry, shard, op, basket, authorised)
  local restricted, free = {}, {}
  for _, lot in ipairs(lots_of(shard, op.seller, op.currency)) do
    if lot.expires == 0 or lot.expires > shard.now then
      local group = lot.only == '' and free or restricted
      group[#group + 1] = lot
    end
  end
  for _, group in ipairs({restricted, free}) do
    for _, lot in ipairs(group) do
      local open = till.open_for(basket, lot.only)
      local minor = lot.left < open and lot.left or open
      if minor > 0 and #authorised.parts < PARTS_MAX then
        till.pay(basket, lot.only, minor)
        lot.left = lot.left - minor
        note_lot(entry, lot.id, 'left', 'authorised', minor)
        put_lot(entry, lot)
        till.add_part(entry, authorised, 'credit', {lot = lot.id, campaign = lot.campaign,
          period = lot.period, tier = lot.tier, granted = lot.granted, expires = lot.expires,
          only = lot.only}, minor)
      end
    end
  end
end

function till.use_available(entry, basket, authorised)
  local available = entry.draft.available
  local minor = available < basket.rest and available or basket.rest
  if minor > 0 then
    basket.rest = basket.rest - minor
    till.add_part(entry, authorised, 'available', {account = 'available'}, minor)
  end
end

function till.figures(of)
  return {of.amount, of.captured, of.refunded, of.released}
end

-- What a request is answered with: its purchase as it is behind the entry, in all and by where it comes
-- from. Lots and discounts are left out: the answer is kept as long as the request's id.
function till.told(authorised)
  local by = {}
  for _, of in ipairs(authorised.parts) do
    local account = of.discount and 'discount' or of.lot and 'credit' or of.account
    local sums = by[account] or {0, 0, 0, 0}
    for i, minor in ipairs(till.figures(of)) do
      sums[i] = sums[i] + minor
    end
    by[account] = sums
  end
  return '"purchase":' .. encode({id = authorised.id, currency = authorised.currency,
    figures = till.figures(authorised), expires = authorised.expires, ended = authorised.ended,
    partial = authorised.partial, by = by})
end

-- What is authorised is kept, with a time at which it ends, until nothing is left of it. The journal
-- gets its figures as they are behind the entry.
function till.store(entry, shard, authorised)
  local key = till.key(entry.seller, authorised.id)
  local timer = 'auth:' .. entry.seller .. '/' .. authorised.id
  if till.left(authorised) > 0 then
    write(entry, 'SET', key, encode(authorised))
    write(entry, 'ZADD', 't', authorised.expires, timer)
  else
    authorised.ended = authorised.ended or 'captured'
    write(entry, 'SET', key, encode(authorised), 'PXAT', forget_at(shard))
    write(entry, 'ZREM', 't', timer)
  end
  if entry.op.hash and not entry.op.topic then
    entry.told = till.told(authorised)
  end
  entry.extra.purchase = format('["%s","%s",%s,%s,%s,%s]', authorised.id, entry.currency,
    int(authorised.amount), int(authorised.captured), int(authorised.refunded), int(authorised.released))
end

-- op: authorisation, currency, amount, lines {{group or false, amount}} of the basket, order, good_ms (how
-- long it stays good), from_available, discounts (whether they are used), partial (whether less than the
-- amount will do). Outcomes: booked; refused unknown_seller, seller_suspended, authorisation_reused,
-- insufficient_funds.
function operations.authorise(shard, op)
  local reason = barred(shard, op.seller)
  if reason then
    return 'refused:' .. reason
  elseif get(shard, till.key(op.seller, op.authorisation)) then
    return 'refused:authorisation_reused'
  end
  local entry = new_entry(shard, op, op.kind, op.currency)
  local authorised = {id = op.authorisation, currency = op.currency, amount = 0, captured = 0, refunded = 0,
    released = 0, expires = shard.now + op.good_ms, at = shard.now, order = op.order, parts = {}}
  local basket = till.basket(op)
  if op.discounts then
    till.use_discounts(entry, shard, op, basket, authorised)
  end
  till.use_lots(entry, shard, op, basket, authorised)
  if op.from_available then
    till.use_available(entry, basket, authorised)
  end
  if basket.rest > 0 and (not op.partial or authorised.amount == 0) then
    return 'refused:insufficient_funds'
  end
  authorised.partial = basket.rest > 0 or nil
  till.store(entry, shard, authorised)
  commit(shard, entry)
  return 'booked'
end

-- Credit of a purchase was spent. If its grant is undone, what is recovered of it no longer counts as used.
function till.spend(entry, shard, of, minor)
  local recovered, marks = spend_lot(entry, shard, of.lot, of, minor)
  if recovered > 0 then
    till.reverse(entry, shard, of, recovered, marks)
  end
end

-- Which lot a grant's money goes back to, and when that expires: the lot it came from, or the one that
-- the same threshold granted since. nil if the grant is undone: then the marks of its threshold by what
-- stands in place of a lot.
function till.lot_now(entry, shard, of)
  local mark, marks = marks_of(entry, shard, of)
  if mark then
    local at, lot = at_mark(of.campaign, of.period, mark)
    return lot, at.expires
  elseif marks['~'] then
    return nil, marks
  end
  return of.lot, of.expires
end

-- Money of a grant that was undone is taken back, and no longer counts as used of it. A threshold that
-- waits for a slice of its budget then waits for so much more.
function till.reverse(entry, shard, of, minor, marks)
  local key = tally_key(entry.seller, of.campaign, of.period, entry.currency)
  local expiry = call('PEXPIRETIME', shard.prefix .. key)
  local forget = expiry > 0 and expiry or 0
  local at, _, used = at_mark(of.campaign, of.period, marks['~'])
  local again = {[marks['~']] = used > minor and mark_of(at, '~', used - minor) or ''}
  undraw(entry, shard, at, minor)
  if marks['?'] then
    local waits, _, amount = at_mark(of.campaign, of.period, marks['?'])
    local budget = budget_of(entry, shard, of.campaign, entry.currency)
    again[marks['?']] = mark_of(waits, '?', amount + minor)
    write(entry, 'ZREM', 'bw:' .. budget.name, waiting_member(entry.seller, waits, forget, amount))
    wait_for_slice(entry, shard, budget, minor, waiting_member(entry.seller, waits, forget, amount + minor))
  end
  replace_marks(entry, shard, of, again)
end

-- Money comes back to its lot, from `account`, where it was as `from`. If the lot's time is over the
-- money expires at once, or with grace_ms has so much more.
function till.to_lot(entry, shard, of, minor, account, from, grace_ms)
  local id, expires = till.lot_now(entry, shard, of)
  if not id then
    till.reverse(entry, shard, of, minor, expires)
    move(entry, account, '/spendback', minor)
    note_lot(entry, of.lot, from, 'reversed', minor)
    return
  end
  local lot = lot_at(entry, shard, id)
  expires = lot and lot.expires or expires
  local over = expires > 0 and expires <= shard.now
  if over and grace_ms == 0 then
    move(entry, account, '/spendback', minor)
    note_lot(entry, of.lot, from, 'expired', minor)
    return
  end
  if over and lot then
    -- What was not spent in time has no part in the grace.
    move(entry, 'credit', '/spendback', lot.left)
    note_lot(entry, id, 'left', 'expired', lot.left)
    lot = nil
  end
  move(entry, account, 'credit', minor)
  if id == of.lot then
    note_lot(entry, id, from, 'left', minor)
  else
    note_lot(entry, of.lot, from, 'reversed', minor)
    note_lot(entry, id, 'granted', 'left', minor)
  end
  local again = lot or {id = id, currency = entry.currency, left = 0, granted = of.granted,
    expires = over and shard.now + grace_ms or expires, campaign = of.campaign, period = of.period,
    tier = of.tier, only = of.only}
  again.left = again.left + minor
  put_lot(entry, again, not lot)
end

-- Earnings come back, through a house account that ends at zero, so that debt which arose meanwhile is paid
-- first.
function till.to_available(entry, shard, minor, account)
  move(entry, account, '/transit', minor)
  if receive(entry, '/transit', 'available', minor) > 0 then
    write(entry, 'ZADD', 't', 'NX', shard.now, 'pay:' .. entry.seller .. ':' .. entry.currency)
  end
end

-- Spent credit is refunded. What its seller owes for it, as its grant was undone, she owes no more or has
-- back as earnings; what was forgiven goes where credit of an undone grant goes.
function till.refund_lot(entry, shard, of, minor, account, grace_ms)
  local settled = settled_of(entry, shard, of.lot)
  local recovered = settled.recovered < minor and settled.recovered or minor
  if recovered > 0 then
    till.to_available(entry, shard, recovered, account)
    note_lot(entry, of.lot, 'recovered', 'reversed', recovered)
  end
  minor = minor - recovered
  local forgiven = settled.forgiven < minor and settled.forgiven or minor
  if forgiven > 0 then
    till.to_lot(entry, shard, of, forgiven, account, 'forgiven', grace_ms)
  end
  if recovered + forgiven > 0 then
    settled.recovered, settled.forgiven = settled.recovered - recovered, settled.forgiven - forgiven
    keep_settled(entry, of.lot, settled)
  end
  if minor > forgiven then
    spend_lot(entry, shard, of.lot, of, forgiven - minor)
    till.to_lot(entry, shard, of, minor - forgiven, account, 'spent', grace_ms)
  end
end

-- Money comes back to where a part of a purchase came from.
function till.give_back(entry, shard, of, minor, account, from, grace_ms)
  if minor == 0 then
    return
  elseif of.discount then
    move(entry, account, '/discounts', minor)
  elseif of.lot and from == 'spent' then
    till.refund_lot(entry, shard, of, minor, account, grace_ms)
  elseif of.lot then
    till.to_lot(entry, shard, of, minor, account, from, grace_ms)
  else
    till.to_available(entry, shard, minor, account)
  end
end

-- A discount may be used again; if its grant is undone it is taken back, and what it cost is free.
function till.return_discount(entry, shard, discount)
  local of = {campaign = discount.campaign, period = discount.period or '', tier = discount.tier}
  local _, marks = marks_of(entry, shard, of)
  if marks['~'] and not marks[discount.id] then
    local _, _, cost = at_mark(of.campaign, of.period, marks['~'])
    till.reverse(entry, shard, of, cost, marks)
  else
    discounts.keep(entry, discount, 'returned')
  end
end

-- Give back what was authorised and not captured. Discounts may be used again if nothing was captured.
function till.release(entry, shard, authorised, grace_ms)
  for _, of in ipairs(authorised.parts) do
    local minor = till.left(of)
    till.give_back(entry, shard, of, minor, 'authorised', 'authorised', grace_ms)
    of.released = of.released + minor
    authorised.released = authorised.released + minor
    local discount = authorised.captured == 0 and of.discount
    if discount and (discount.expires == 0 or discount.expires > shard.now) then
      till.return_discount(entry, shard, discount)
    end
  end
end

-- How much of an amount is of discounts: their share of the whole, in proportion, so that parts in
-- whatever order never add up to more. `done` and `all` are fields of what is authorised and its parts:
-- so far, and in the end. Returns the discounts' share, to be taken from them in order.
function till.discounted(authorised, minor, done, all)
  local whole, so_far, rest = 0, 0, 0
  for _, of in ipairs(authorised.parts) do
    if of.discount then
      whole = whole + of[all]
      so_far = so_far + of[done]
    else
      rest = rest + of[all] - of[done]
    end
  end
  if whole == 0 then
    return 0
  end
  local share = ratio(whole, authorised[done] + minor, authorised[all]) - so_far
  local least, most = minor - rest, whole - so_far
  share = share > least and share or least
  share = share > 0 and share or 0
  most = most < minor and most or minor
  return share < most and share or most
end

-- The authorisation that an operation is about; or nil and why there is none that it could be about.
-- `now`: when the till did what it tells; a clock that is ahead does not end an authorisation.
function till.find(shard, op)
  local stored = get(shard, till.key(op.seller, op.authorisation))
  local authorised = stored and decode(stored)
  if not authorised then
    return nil, 'unknown_authorisation'
  elseif op.currency and op.currency ~= authorised.currency then
    return nil, 'currency_mismatch'
  end
  local now = op.occurred and op.occurred < shard.now and op.occurred or shard.now
  authorised.over = authorised.ended == 'expired' or till.left(authorised) > 0 and now >= authorised.expires
  return authorised
end

-- op: authorisation, currency, amount, occurred (ms), final (what is left is released), grace_ms (for what
-- is released and whose lot has expired).
-- Outcomes: booked; refused unknown_authorisation, currency_mismatch, authorisation_expired,
-- authorisation_closed (it was voided), capture_exceeds_authorisation.
function operations.capture(shard, op)
  local authorised, reason = till.find(shard, op)
  if not authorised then
    return 'refused:' .. reason
  elseif authorised.over then
    return 'refused:authorisation_expired'
  elseif authorised.ended == 'voided' then
    return 'refused:authorisation_closed'
  elseif op.amount > till.left(authorised) then
    return 'refused:capture_exceeds_authorisation'
  end
  authorised.over = nil
  local entry = new_entry(shard, op, op.kind, op.currency)
  local discounted = till.discounted(authorised, op.amount, 'captured', 'amount')
  local rest = op.amount - discounted
  for _, of in ipairs(authorised.parts) do
    local minor = till.left(of)
    local most = of.discount and discounted or rest
    minor = minor < most and minor or most
    move(entry, 'authorised', '/sales', minor)
    of.captured = of.captured + minor
    if of.discount then
      discounted = discounted - minor
    else
      rest = rest - minor
      if of.lot then
        note_lot(entry, of.lot, 'authorised', 'spent', minor)
        till.spend(entry, shard, of, minor)
      end
    end
  end
  authorised.captured = authorised.captured + op.amount
  if op.final then
    till.release(entry, shard, authorised, op.grace_ms)
  end
  till.store(entry, shard, authorised)
  commit(shard, entry)
  return 'booked'
end

-- The till does not want what is left. op: authorisation, occurred, grace_ms. Outcomes: booked; refused
-- unknown_authorisation, authorisation_expired, authorisation_closed (nothing is left).
function operations.void(shard, op)
  local authorised, reason = till.find(shard, op)
  if not authorised then
    return 'refused:' .. reason
  elseif authorised.over then
    return 'refused:authorisation_expired'
  elseif till.left(authorised) == 0 then
    return 'refused:authorisation_closed'
  end
  authorised.over, authorised.ended = nil, 'voided'
  local entry = new_entry(shard, op, op.kind, authorised.currency)
  till.release(entry, shard, authorised, op.grace_ms)
  till.store(entry, shard, authorised)
  commit(shard, entry)
  return 'booked'
end

-- Goods came back: what was captured goes back to where it came from, the last part first, as if the
-- purchase had been so much smaller. op: authorisation, currency, amount, grace_ms. Outcomes: booked;
-- refused unknown_authorisation, currency_mismatch, refund_exceeds_capture.
function operations.refund(shard, op)
  local authorised, reason = till.find(shard, op)
  if not authorised then
    return 'refused:' .. reason
  elseif op.amount > authorised.captured - authorised.refunded then
    return 'refused:refund_exceeds_capture'
  end
  authorised.over = nil
  local entry = new_entry(shard, op, op.kind, op.currency)
  local discounted = till.discounted(authorised, op.amount, 'refunded', 'captured')
  local rest = op.amount - discounted
  for i = #authorised.parts, 1, -1 do
    local of = authorised.parts[i]
    local minor = of.captured - of.refunded
    local most = of.discount and discounted or rest
    minor = minor < most and minor or most
    till.give_back(entry, shard, of, minor, '/sales', 'spent', op.grace_ms)
    of.refunded = of.refunded + minor
    if of.discount then
      discounted = discounted - minor
    else
      rest = rest - minor
    end
  end
  authorised.refunded = authorised.refunded + op.amount
  till.store(entry, shard, authorised)
  commit(shard, entry)
  return 'booked'
end

-- An authorisation's time is over: what is left of it is released. op: seller, authorisation, timer, due,
-- grace_ms. Outcomes: booked; ignored.
function operations.unauthorise(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  local authorised = till.find(shard, op)
  if not due or tonumber(due) ~= op.due or not authorised then
    return 'ignored:gone'
  end
  authorised.over, authorised.ended = nil, 'expired'
  local entry = new_entry(shard, op, 'purchase.expired', authorised.currency)
  till.release(entry, shard, authorised, op.grace_ms)
  till.store(entry, shard, authorised)
  commit(shard, entry)
  return 'booked'
end

-- A seller is given a discount on a purchase to come. op: discount {id, currency, campaign, expires, bp and
-- cap or amount, min, only, stacks}. Outcomes: booked; refused discount_reused (there is one of this id).
function operations.give_discount(shard, op)
  if call('HEXISTS', shard.prefix .. 'g:' .. op.seller, op.discount.id) == 1 then
    return 'refused:discount_reused'
  end
  local entry = new_entry(shard, op, op.kind, 'XXX')
  discounts.keep(entry, op.discount, 'granted')
  commit(shard, entry)
  return 'booked'
end

-- A discount's time is over. op: seller, discount (its id), timer, due. Outcomes: booked; ignored.
function operations.expire_discount(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  local stored = call('HGET', shard.prefix .. 'g:' .. op.seller, op.discount)
  if not due or tonumber(due) ~= op.due or not stored then
    return 'ignored:gone'
  end
  local entry = new_entry(shard, op, 'discount.expired', 'XXX')
  discounts.drop(entry, decode(stored), 'expired')
  commit(shard, entry)
  return 'booked'
end
