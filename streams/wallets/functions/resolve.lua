-- A payout that its rail never tells of is ended by somebody of the company who asked the provider.

-- Whether another payout has this reference.
local function taken(shard, op, payout)
  local whose = get(shard, 'i:' .. payout.rail .. ':' .. op.reference)
  return whose and whose:match('^[^.]+') ~= op.payout
end

-- Whether it was said long enough behind a time. Whoever is ahead of our clock knows no more for that.
local function said_after(shard, op, at)
  local said = op.said < shard.now and op.said or shard.now
  return said >= at + op.quiet_ms
end

-- Where a rail repeats the submission to ask, an enquiry may pay what is said not to be paid: one that is
-- under way, that is soon to be, or that was since it was said, or while it was.
local function may_pay(shard, op, payout)
  local ask_at = call('ZSCORE', shard.prefix .. 'e', op.payout)
  if ask_at and tonumber(ask_at) < shard.now + op.quiet_ms then
    return 'enquiry_due'
  end
  if not said_after(shard, op, payout.changed_ms) then
    return 'asked_since'
  end
end

-- Why what is said cannot be of this payout as it stands, or not of one at all.
local function refused(shard, op, payout)
  if payout.seller_id ~= op.seller then
    return 'seller_mismatch'
  elseif payout.resolved then
    return 'payout_resolved'
  elseif payout.state ~= 'unknown' or payout.attempt ~= op.attempt then
    return 'payout_not_unknown'
  elseif payout.currency ~= op.currency then
    return 'currency_mismatch'
  elseif payout.amount_minor ~= op.amount then
    return 'amount_mismatch'
  elseif op.reference and ((payout.provider_ref or op.reference) ~= op.reference
    or taken(shard, op, payout)) then
    return 'reference_mismatch'
  elseif op.by == op.seller then
    return 'not_independent'
  end
  return not PAID[op.state] and may_pay(shard, op, payout) or nil
end

local function said_before(payout, op)
  local said = payout.resolved
  return said and payout.seller_id == op.seller and said.state == op.state and said.by == op.by
    and said.why == op.why and said.reference == op.reference and payout.attempt == op.attempt
    and payout.currency == op.currency and payout.amount_minor == op.amount
end

-- op: payout, attempt, state (settled, returned, failed), currency, amount (the principal), by (who), why,
-- reference (the provider's, or none), said (when, in ms), quiet_ms (how long before the next enquiry, and
-- behind the last one, nobody asks).
-- Nothing is tried anew: what is given back is available, and goes out as what is available does.
-- Outcomes: booked; ignored (the same was said before: an entry that changes nothing); refused unknown_payout,
-- seller_mismatch, payout_resolved (as something else, or by somebody else), payout_not_unknown (or another
-- attempt is under way), currency_mismatch, amount_mismatch, reference_mismatch, not_independent, enquiry_due
-- (not paid, and the rail is being asked, or is within quiet_ms), asked_since (not paid, and the rail was
-- heard of, or silent, since it was said, or within quiet_ms before).
function operations.resolve(shard, op)
  local payout = find_payout(shard, op)
  if not payout then
    return 'refused:unknown_payout'
  elseif said_before(payout, op) then
    commit(shard, new_entry(shard, op, op.kind, 'XXX'))
    return 'ignored:resolved'
  end
  local reason = refused(shard, op, payout)
  if reason then
    return 'refused:' .. reason
  end
  payout.resolved = {state = op.state, by = op.by, why = op.why, reference = op.reference, at = shard.now}
  -- Whoever asked knows more than a report that only hints; not than one that came since.
  if said_after(shard, op, payout.hinted_ms or 0) then
    payout.hinted = nil
  end
  op.reason = 'resolved'
  if op.state ~= 'failed' then
    op.provider_ref, op.by_ref = op.reference, true
  end
  return advance(shard, op, payout)
end
