-- A payout that somebody asks for: all that is available goes out now, whatever window it waits in. If a
-- quote is named, what it buys is exchanged first, in the same entry: both are done, or neither.

-- op: currency, rev, pay (terms as reserve() takes them; without them the seller is not paid), quote or none.
-- Outcomes: booked; refused payout_not_possible (no destination that may be paid, suspended, or nothing in
-- the policy), quote_unknown, quote_used, quote_expired, currency_mismatch (the quote buys another one),
-- nothing_available, rails_closed (none is open just now), day_limit, amount_below_minimum.
function operations.request(shard, op)
  local entry = new_entry(shard, op, op.kind, op.currency)
  if not op.pay then
    return 'refused:payout_not_possible'
  end
  if op.quote then
    local quote, reason = fx.usable(shard, op)
    if not quote then
      return 'refused:' .. reason
    elseif quote.target ~= op.currency then
      return 'refused:currency_mismatch'
    end
    fx.exchange(entry, in_currency(shard, op, entry, quote.source), entry, shard, quote)
  end
  if entry.draft.available <= 0 then
    return 'refused:nothing_available'
  elseif op.pay.later then
    return 'refused:rails_closed'
  end
  local route, limited = choose(entry, shard, op.pay)
  if not route then
    return limited and 'refused:day_limit' or 'refused:amount_below_minimum'
  end
  reserve(entry, shard, op.pay, shard.now, true)
  commit(shard, entry)
  return 'booked'
end
