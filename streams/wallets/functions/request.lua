-- A payout that somebody asks for: all that is available goes out now, whatever window it waits in.

-- op: currency, rev, pay (terms as reserve() takes them; without them the seller is not paid).
-- Outcomes: booked; refused payout_not_possible (no destination that may be paid, suspended, or nothing in
-- the policy), nothing_available, rails_closed (none is open just now), day_limit, amount_below_minimum.
function operations.request(shard, op)
  local entry = new_entry(shard, op, op.kind, op.currency)
  if not op.pay then
    return 'refused:payout_not_possible'
  elseif entry.draft.available <= 0 then
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
