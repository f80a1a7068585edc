-- Payouts: reserve principal and fee, and move a payout from state to state.

-- TRANSITIONS, TERMINAL and PAID are put here from models/payouts.py when the library is made.

local function fee_of(terms, principal)
  local fee = terms.fixed + part(principal, terms.bp)
  if terms.cap > 0 and fee > terms.cap then
    fee = terms.cap
  end
  return fee
end

-- The largest principal that balance can pay together with its fee, and that fee.
local function principal_of(terms, balance)
  local most = balance < terms.max and balance or terms.max
  if not terms.seller_pays then
    return most, 0
  end
  local principal = most
  if principal + fee_of(terms, principal) > balance then
    principal = balance - fee_of(terms, most)
    for _ = 1, 4 do
      local more = balance - fee_of(terms, principal > 0 and principal or 0)
      if more <= principal or more > terms.max or more + fee_of(terms, more) > balance then
        break
      end
      principal = more
    end
  end
  return principal, fee_of(terms, principal > 0 and principal or 0)
end

local function payout_update(entry, shard, payout)
  local json = '{"v":1,"type":"payout.updated","id":"' .. uuid5(payout.payout_id .. '/' .. payout.state
    .. '/' .. int(shard.seq + 1)) .. '","payout_id":"' .. payout.payout_id .. '","seller_id":"'
    .. payout.seller_id .. '","state":"' .. payout.state .. '","rail":"' .. payout.rail
    .. '","currency":"' .. payout.currency .. '","amount_minor":' .. int(payout.amount_minor)
    .. ',"fee_minor":' .. int(payout.fee_minor) .. ',"at_ms":' .. int(shard.now)
  if payout.category then
    json = json .. ',"category":"' .. payout.category .. '"'
  end
  if payout.reason then
    json = json .. ',"reason":' .. encode(payout.reason)
  end
  publish(entry, 'payouts.updates', payout.seller_id, json .. '}')
  entry.extra.payout = '["' .. payout.payout_id .. '","' .. payout.state .. '","' .. payout.rail
    .. '",' .. int(payout.amount_minor) .. ',' .. int(payout.fee_minor) .. ']'
end

-- Pay out what is available, if it is enough. `terms`: rail, destination, min, max, fixed, bp, cap,
-- seller_pays, window. With a window the payout waits in a timer for more to come.
local function reserve(entry, shard, terms, caused_ms, now_due)
  if entry.draft.available < terms.min then
    return
  end
  if terms.window > 0 and not now_due then
    write(entry, 'ZADD', 't', 'NX', shard.now + terms.window,
      'pay:' .. entry.seller .. ':' .. entry.currency)
    return
  end
  local principal, fee = principal_of(terms, entry.draft.available)
  -- A rail may carry fewer decimals than the currency has.
  principal = principal - principal % terms.step
  if principal < terms.min or principal <= 0 then
    return
  end
  if terms.seller_pays then
    fee = fee_of(terms, principal)
  end
  move(entry, 'available', 'in_flight', principal + fee)
  -- The first byte of a payout's id is its shard, so that a report that names only the payout finds it.
  local id = format('%02x', shard.number) .. uuid5(entry.op.id .. '/payout'):sub(3)
  local body = '"payout_id":"' .. id .. '","seller_id":"' .. entry.seller .. '","rail":"' .. terms.rail
    .. '","currency":"' .. entry.currency .. '","amount_minor":' .. int(principal) .. ',"fee_minor":'
    .. int(fee) .. ',"destination":"' .. terms.destination .. '","cause":"' .. entry.op.id
    .. '","caused_ms":' .. int(caused_ms) .. ',"reserved_ms":' .. int(shard.now)
  write(entry, 'SET', 'y:' .. id, '{' .. body .. ',"state":"reserved","asked":0}')
  write(entry, 'ZADD', 't', shard.now + shard.context.ask_ms, 'ask:' .. id)
  publish(entry, 'payouts.commands', entry.seller, '{"v":1,"type":"payout.command",' .. body .. '}')
  entry.extra.payout = '["' .. id .. '","reserved","' .. terms.rail .. '",' .. int(principal) .. ','
    .. int(fee) .. ']'
end

-- Postings of a payout that goes from one state to the next.
local function settle(entry, payout, before, after)
  local whole = payout.amount_minor + payout.fee_minor
  local was_paid = PAID[before]
  if PAID[after] and not was_paid then
    move(entry, 'in_flight', '/clearing:' .. payout.rail, payout.amount_minor)
    move(entry, 'in_flight', '/fees', payout.fee_minor)
  elseif TERMINAL[after] and not PAID[after] then
    if was_paid then
      receive(entry, '/clearing:' .. payout.rail, 'available', payout.amount_minor)
    else
      -- Through a house account that ends at zero, so that debt is paid first here as well.
      move(entry, 'in_flight', '/transit', whole)
      receive(entry, '/transit', 'available', whole)
    end
  end
end

-- Mark the destination of a seller's profile as refused, so that nothing more is sent there.
local function disable_destination(entry, shard, payout)
  local stored = get(shard, 'p:' .. entry.seller)
  if not stored then
    return
  end
  local revision, json = stored:match('^(%d+)|(.*)$')
  local profile = decode(json)
  if profile.destination == payout.destination then
    profile.refused = true
    write(entry, 'SET', 'p:' .. entry.seller, int(tonumber(revision) + 1) .. '|' .. encode(profile))
    -- What was decided upon the profile before must not be booked behind this in the same call.
    shard.revisions[entry.seller] = tonumber(revision) + 1
  end
end

-- op: payout, state, and optionally only_from, again (an enquiry's answer: booked also if it changes
-- nothing, as the time of the next one), provider_ref, category, reason, ask_ms (when to enquire
-- next), retry_ms (when to try a retryable failure again), hash/topic/… of a rail's report.
-- Outcomes: booked; ignored (a transition that may not be, or nothing new); refused unknown_payout.
function operations.transit(shard, op)
  local stored = get(shard, 'y:' .. op.payout)
  if not stored then
    return 'refused:unknown_payout'
  end
  local payout = decode(stored)
  local before = payout.state
  op.seller = payout.seller_id
  if op.only_from and before ~= op.only_from then
    return 'ignored:' .. before
  end
  -- Staying in a state is news only while the payout is under way: it sets the next enquiry.
  if before == op.state and (not op.again or TERMINAL[before]) then
    return 'ignored:' .. before
  end
  if before ~= op.state and not (TRANSITIONS[before] or {})[op.state] then
    if not op.again or TERMINAL[before] then
      return 'ignored:' .. before
    end
    -- An enquiry that brought no news (a rail that is down): without a next time for it, the timer
    -- would stay due and the rail be asked without a pause.
    op.state = before
  end
  local entry = new_entry(shard, op, 'payout.' .. op.state, payout.currency)
  payout.state = op.state
  -- How often the rail was asked since there was news: the next enquiry comes ever later.
  payout.asked = before == op.state and payout.asked + 1 or 0
  payout.provider_ref = op.provider_ref or payout.provider_ref
  payout.category = op.category
  payout.reason = op.reason
  payout.changed_ms = shard.now
  if op.state == 'submitted' and not payout.submitted_ms then
    payout.submitted_ms = shard.now
  end
  settle(entry, payout, before, op.state)
  if TERMINAL[op.state] then
    write(entry, 'SET', 'y:' .. op.payout, encode(payout), 'PXAT', forget_at(shard))
    write(entry, 'ZREM', 't', 'ask:' .. op.payout)
    if op.category == 'method' then
      disable_destination(entry, shard, payout)
    elseif op.retry_ms then
      write(entry, 'ZADD', 't', 'NX', shard.now + op.retry_ms,
        'pay:' .. entry.seller .. ':' .. entry.currency)
    end
  else
    write(entry, 'SET', 'y:' .. op.payout, encode(payout))
    write(entry, 'ZADD', 't', shard.now + (op.ask_ms or shard.context.ask_ms), 'ask:' .. op.payout)
  end
  payout_update(entry, shard, payout)
  commit(shard, entry)
  return 'booked'
end

-- Pay out what has gathered behind a coalescing window or a retry. op: timer, due, pay, rev, currency.
-- Outcomes: booked; ignored (the timer is gone or was set anew).
function operations.sweep(shard, op)
  local timer = 'pay:' .. op.seller .. ':' .. op.currency
  local due = call('ZSCORE', shard.prefix .. 't', timer)
  if not due or tonumber(due) ~= op.due then
    return 'ignored:gone'
  end
  local entry = new_entry(shard, op, 'payout.swept', op.currency)
  write(entry, 'ZREM', 't', timer)
  if op.pay then
    reserve(entry, shard, op.pay, op.due, true)
  end
  commit(shard, entry)
  return 'booked'
end
