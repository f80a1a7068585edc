-- Foreign exchange: a rate is kept, a quote promises it for a while and reserves what is to be sold, and a
-- conversion uses the quote once.

-- A rate is kept as JSON under f:<pair>, in the shard that the pair's name leads to, whoever reads it.
-- A quote is kept as JSON under c:<seller>/<quote>, and stands so in every entry that is about it:
--   id, step ("quoted", "converted", "expired"), source, target, sold (of the source), bought, markup,
--   rounding (of the target; the three are what is sold at mid), rate (the id of the event it came by),
--   numerator and denominator (of the mid rate, in whole units), markup_bp, expires (ms)
-- All figures come from models/fx.py: here they are only held against the balances and the time.

local fx = {}

function fx.key(seller, quote)
  return 'c:' .. seller .. '/' .. quote
end

-- cjson would write a number above 10^14 with an exponent.
function fx.text(quote, step)
  return format('{"id":"%s","step":"%s","source":"%s","target":"%s","sold":%d,"bought":%d,"markup":%d,'
    .. '"rounding":%d,"rate":"%s","numerator":%d,"denominator":%d,"markup_bp":%d,"expires":%d}',
    quote.id, step, quote.source, quote.target, quote.sold, quote.bought, quote.markup, quote.rounding,
    quote.rate, quote.numerator, quote.denominator, quote.markup_bp, quote.expires)
end

-- An open quote has a time at which it ends; one that has ended is kept so that its use is told from it.
function fx.store(entry, shard, quote, step)
  local key, timer = fx.key(entry.seller, quote.id), 'quote:' .. entry.seller .. '/' .. quote.id
  local text = fx.text(quote, step)
  if step == 'quoted' then
    write(entry, 'SET', key, text)
    write(entry, 'ZADD', 't', quote.expires, timer)
  else
    write(entry, 'SET', key, text, 'PXAT', forget_at(shard))
    write(entry, 'ZREM', 't', timer)
  end
  entry.extra.quote = text
end

-- Money that came to `available`: whether it can be paid out is looked at soon.
function fx.look_for_payout(entry, shard, currency)
  write(entry, 'ZADD', 't', 'NX', shard.now, 'pay:' .. entry.seller .. ':' .. currency)
end

-- op: seller (the pair), stored (the rate as it is kept), numerator, denominator, observed (ms), factor.
-- Outcomes: booked, also of a rate that is older than the one there and changes nothing; refused
-- rate_implausible: it is `factor` times the one before, or that is of it.
function operations.rate(shard, op)
  local key = 'f:' .. op.seller
  local stored = get(shard, key)
  local before = stored and decode(stored)
  if before and op.observed < before.observed_ms then
    commit(shard, new_entry(shard, op, op.kind .. '.outdated', 'XXX'))
    return 'booked'
  end
  -- Products above 2^53 are rounded, by less than one part in 10^15: this is a bound, not an amount.
  local after_ = before and op.numerator * before.denominator
  local before_ = before and before.numerator * op.denominator
  if before and (after_ >= op.factor * before_ or before_ >= op.factor * after_) then
    return 'refused:rate_implausible'
  end
  local entry = new_entry(shard, op, op.kind, 'XXX')
  write(entry, 'SET', key, op.stored)
  commit(shard, entry)
  return 'booked'
end

-- op: quote (its id), source, target, and sold, bought, markup, rounding, rate, numerator, denominator,
-- markup_bp, good_until (ms: when the rate is stale), good_ms (how long the quote stays good); or refuse:
-- why there is nothing to quote.
-- Outcomes: booked; refused unknown_seller, seller_suspended, quote_reused, what `refuse` says (rate_unknown,
-- conversion_too_small, amount_too_large), rate_expired, insufficient_available.
function operations.quote(shard, op)
  local reason = barred(shard, op.seller)
  if reason then
    return 'refused:' .. reason
  elseif get(shard, fx.key(op.seller, op.quote)) then
    return 'refused:quote_reused'
  elseif op.refuse then
    return 'refused:' .. op.refuse
  elseif shard.now >= op.good_until then
    return 'refused:rate_expired'
  end
  local entry = new_entry(shard, op, op.kind, op.source)
  if entry.draft.available < op.sold then
    return 'refused:insufficient_available'
  end
  move(entry, 'available', 'quoted', op.sold)
  fx.store(entry, shard, {id = op.quote, source = op.source, target = op.target, sold = op.sold,
    bought = op.bought, markup = op.markup, rounding = op.rounding, rate = op.rate,
    numerator = op.numerator, denominator = op.denominator, markup_bp = op.markup_bp,
    expires = shard.now + op.good_ms}, 'quoted')
  commit(shard, entry)
  return 'booked'
end

-- The quote that an operation names, if it can be used; or nil and why not.
function fx.usable(shard, op)
  local stored = get(shard, fx.key(op.seller, op.quote))
  local quote = stored and decode(stored)
  if not quote then
    return nil, 'quote_unknown'
  elseif quote.step == 'converted' then
    return nil, 'quote_used'
  elseif quote.step == 'expired' or shard.now >= quote.expires then
    return nil, 'quote_expired'
  end
  return quote
end

-- Exchange what a quote is for: `sold` and `bought` are the two currencies of one entry. What is bought pays
-- debt in its currency first; what is left of it is returned.
function fx.exchange(entry, sold, bought, shard, quote)
  move(sold, 'quoted', '/fx', quote.sold)
  move(bought, '/fx', '/fx:markup', quote.markup)
  move(bought, '/fx', '/fx:rounding', quote.rounding)
  fx.store(entry, shard, quote, 'converted')
  return receive(bought, '/fx', 'available', quote.bought)
end

-- A quote is used. op: quote. Outcomes: booked; refused quote_unknown, quote_used, quote_expired.
function operations.convert(shard, op)
  local quote, reason = fx.usable(shard, op)
  if not quote then
    return 'refused:' .. reason
  end
  local entry = new_entry(shard, op, op.kind, quote.source)
  local bought = in_currency(shard, op, entry, quote.target)
  if fx.exchange(entry, entry, bought, shard, quote) > 0 then
    fx.look_for_payout(entry, shard, quote.target)
  end
  commit(shard, entry)
  return 'booked'
end

-- A quote's time is over: what it reserved comes back. op: seller, quote, timer, due. Outcomes: booked;
-- ignored.
function operations.unquote(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  local stored = get(shard, fx.key(op.seller, op.quote))
  if not due or tonumber(due) ~= op.due or not stored then
    return 'ignored:gone'
  end
  local quote = decode(stored)
  local entry = new_entry(shard, op, 'conversion.expired', quote.source)
  if receive(entry, 'quoted', 'available', quote.sold) > 0 then
    fx.look_for_payout(entry, shard, quote.source)
  end
  fx.store(entry, shard, quote, 'expired')
  commit(shard, entry)
  return 'booked'
end
