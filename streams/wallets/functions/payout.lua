-- Payouts: reserve principal and fee, and move a payout from state to state.

-- TRANSITIONS, RETRIES_FROM, TERMINAL and PAID are put here from models/payouts.py when the library is
-- made.

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

-- Limits of a day. What a payout gives back on the day it was reserved counts no more.
local DAY_MS = 86400000
local function day_key(seller, rail, currency)
  return 'v:' .. seller .. ':' .. rail .. ':' .. currency
end

local function sent_today(shard, seller, rail, currency)
  local day, minor = (get(shard, day_key(seller, rail, currency)) or ''):match('^(%d+),(%d+)$')
  local today = floor(shard.now / DAY_MS)
  return tonumber(day) == today and tonumber(minor) or 0, today
end

local function count_today(entry, shard, payout, minor)
  local sent, today = sent_today(shard, entry.seller, payout.rail, entry.currency)
  if minor < 0 and payout.day ~= today then
    return
  end
  payout.day = today
  write(entry, 'SET', day_key(entry.seller, payout.rail, entry.currency),
    int(today) .. ',' .. int(sent + minor), 'PXAT', (today + 1) * DAY_MS)
end

-- What a route can carry of what is available, and the fee; or nil and why it carries nothing.
local function carried(entry, shard, route)
  local available = entry.draft.available
  local reason = 'amount_below_minimum'
  if available < route.min then
    return nil, reason
  end
  local principal, fee = principal_of(route, available)
  if route.day_max then
    local left = route.day_max - sent_today(shard, entry.seller, route.rail, entry.currency)
    if principal > left then
      principal, reason = left, 'day_limit'
    end
  end
  -- A rail may carry fewer decimals than the currency has.
  principal = principal - principal % route.step
  if principal < route.min or principal <= 0 then
    return nil, reason
  end
  if route.seller_pays then
    fee = fee_of(route, principal)
  end
  return principal, fee
end

-- The first route that can carry something: route, principal, fee, and what was passed over and why.
local function choose(entry, shard, pay)
  local passed, limited = {}, false
  for _, reason in ipairs(pay.passed or {}) do
    passed[#passed + 1] = reason
  end
  for _, route in ipairs({pay, unpack(pay.others or {})}) do
    local principal, fee = carried(entry, shard, route)
    if principal then
      passed[#passed + 1] = route.rail .. ':' .. route.why
      return route, principal, fee, passed
    end
    limited = limited or fee == 'day_limit'
    passed[#passed + 1] = route.rail .. ':' .. fee
  end
  return nil, limited
end

local function command(payout)
  return '{"v":1,"type":"payout.command","payout_id":"' .. payout.payout_id .. '","seller_id":"'
    .. payout.seller_id .. '","rail":"' .. payout.rail .. '","currency":"' .. payout.currency
    .. '","amount_minor":' .. int(payout.amount_minor) .. ',"fee_minor":' .. int(payout.fee_minor)
    .. ',"destination":"' .. payout.destination .. '","attempt":' .. int(payout.attempt)
    .. ',"route":' .. encode(payout.route) .. ',"cause":"' .. payout.cause .. '","caused_ms":'
    .. int(payout.caused_ms) .. ',"reserved_ms":' .. int(payout.reserved_ms) .. '}'
end

local function note_payout(entry, payout)
  entry.extra.payout = '["' .. payout.payout_id .. '","' .. payout.state .. '","' .. payout.rail
    .. '",' .. int(payout.amount_minor) .. ',' .. int(payout.fee_minor) .. ']'
end

local function payout_update(entry, shard, payout)
  local json = '{"v":1,"type":"payout.updated","id":"' .. uuid5(payout.payout_id .. '/' .. payout.state
    .. '/' .. int(shard.seq + 1)) .. '","payout_id":"' .. payout.payout_id .. '","seller_id":"'
    .. payout.seller_id .. '","state":"' .. payout.state .. '","rail":"' .. payout.rail
    .. '","currency":"' .. payout.currency .. '","amount_minor":' .. int(payout.amount_minor)
    .. ',"fee_minor":' .. int(payout.fee_minor) .. ',"attempt":' .. int(payout.attempt)
    .. ',"at_ms":' .. int(shard.now)
  if payout.category then
    json = json .. ',"category":"' .. payout.category .. '"'
  end
  if payout.reason then
    json = json .. ',"reason":' .. encode(payout.reason)
  end
  publish(entry, 'payouts.updates', payout.seller_id, json .. '}')
  note_payout(entry, payout)
end

-- The message that a destination is not paid to, and why.
local function refusal(entry, rail, reason, shard)
  return '{"v":1,"type":"destination.refused","id":"' .. uuid5(entry.op.id .. '/refused/' .. #entry.out)
    .. '","seller_id":"' .. entry.seller .. '","rail":"' .. rail .. '","reason":' .. encode(reason)
    .. ',"at_ms":' .. int(shard.now) .. '}'
end

-- Pay out what is available, if it is enough, over the first route that can carry it. `pay`: a route
-- {rail, destination, min, max, fixed, bp, cap, seller_pays, step, why, day_max}, and with it window,
-- passed (routes that are not open, and why), others (further routes); or only later: in how many ms
-- routes are looked for again. With a window the payout waits in a timer for more to come.
local function reserve(entry, shard, pay, caused_ms, now_due)
  local timer = 'pay:' .. entry.seller .. ':' .. entry.currency
  if entry.draft.available <= 0 then
    return
  elseif pay.later then
    write(entry, 'ZADD', 't', 'NX', shard.now + pay.later, timer)
    return
  end
  local route, principal, fee, passed = choose(entry, shard, pay)
  if not route then
    if principal then
      -- A limit of the day stands in the way: the next day it does not.
      write(entry, 'ZADD', 't', 'NX', (floor(shard.now / DAY_MS) + 1) * DAY_MS, timer)
    end
    return
  elseif pay.window > 0 and not now_due then
    write(entry, 'ZADD', 't', 'NX', shard.now + pay.window, timer)
    return
  end
  move(entry, 'available', 'in_flight', principal + fee)
  local payout = {
    -- The first byte is the shard, so that a report that names only the payout finds it.
    payout_id = format('%02x', shard.number) .. uuid5(entry.op.id .. '/payout'):sub(3),
    seller_id = entry.seller, rail = route.rail, currency = entry.currency, amount_minor = principal,
    fee_minor = fee, destination = route.destination, cause = entry.op.id, caused_ms = caused_ms,
    reserved_ms = shard.now, state = 'reserved', asked = 0, attempt = 0, route = passed}
  if route.day_max then
    count_today(entry, shard, payout, principal)
  end
  write(entry, 'SET', 'y:' .. payout.payout_id, encode(payout))
  write(entry, 'ZADD', 'e', shard.now + shard.context.ask_ms, payout.payout_id)
  publish(entry, 'payouts.commands', entry.seller, command(payout))
  note_payout(entry, payout)
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

local function profile_of(shard, seller)
  local revision, json = (get(shard, 'p:' .. seller) or ''):match('^(%d+)|(.*)$')
  return json and decode(json), tonumber(revision)
end

-- Why a seller may not use her money; nil if she may.
local function barred(shard, seller)
  local profile = profile_of(shard, seller)
  return not profile and 'unknown_seller' or profile.status == 'suspended' and 'seller_suspended' or nil
end

-- Disable a destination in the seller's profile, so that nothing more is sent there, and tell.
local function disable_destination(entry, shard, payout, reason)
  local profile, revision = profile_of(shard, entry.seller)
  for _, method in ipairs(profile and profile.methods or {}) do
    if method.destination == payout.destination and not method.disabled then
      method.disabled = reason
      write(entry, 'SET', 'p:' .. entry.seller, int(revision + 1) .. '|' .. encode(profile))
      -- What was decided upon the profile before must not be booked behind this in the same call.
      shard.revisions[entry.seller] = revision + 1
      publish(entry, 'payouts.updates', entry.seller, refusal(entry, payout.rail, reason, shard))
    end
  end
end

-- Whether the profile still has a method of this rail and destination that may be paid.
local function has_method(shard, seller, rail, destination)
  for _, method in ipairs((profile_of(shard, seller) or {}).methods or {}) do
    if method.destination == destination and not method.disabled and not method.refused then
      for _, name in ipairs(method.rails) do
        if name == rail then
          return true
        end
      end
    end
  end
  return false
end

local function find_payout(shard, op)
  local stored = get(shard, 'y:' .. op.payout)
  return stored and decode(stored)
end

local function store_payout(entry, shard, payout)
  if TERMINAL[payout.state] then
    write(entry, 'SET', 'y:' .. payout.payout_id, encode(payout), 'PXAT', forget_at(shard))
  else
    write(entry, 'SET', 'y:' .. payout.payout_id, encode(payout))
  end
end

-- A rail's answer settles the hints that were there when it was asked.
local function take_hints(payout, op)
  if op.again and not op.silent and op.hints == (payout.hints or 0) then
    payout.hinted = nil
  end
end

-- Let a payout be found by its rail's reference, for as long as ids are kept: journalled as the payout is,
-- so that an emptied Redis still knows whose a report is that comes long after the payout has ended.
local function index(entry, shard, payout)
  local attempt = payout.attempt > 0 and '.' .. int(payout.attempt) or ''
  write(entry, 'SET', 'i:' .. payout.rail .. ':' .. payout.provider_ref, payout.payout_id .. attempt,
    'PXAT', forget_at(shard))
end

-- When a payout is asked about next; nil for never.
local function ask_at(shard, op, payout)
  if payout.hinted then
    return op.again and shard.now + (op.ask_ms or shard.context.ask_ms) or shard.now
  elseif not TERMINAL[payout.state] then
    return shard.now + (op.ask_ms or shard.context.ask_ms)
  end
end

local function set_timer(entry, shard, op, payout)
  local at = ask_at(shard, op, payout)
  if at then
    write(entry, 'ZADD', 'e', at, op.payout)
  else
    write(entry, 'ZREM', 'e', op.payout)
  end
end

-- A rail was asked about a payout that has ended, and its answer changes nothing.
local function note_answer(shard, op, payout)
  if call('ZSCORE', shard.prefix .. 'e', op.payout) then
    local entry = new_entry(shard, op, 'payout.asked', payout.currency)
    take_hints(payout, op)
    store_payout(entry, shard, payout)
    set_timer(entry, shard, op, payout)
    commit(shard, entry)
  end
end

-- What a command says may be older than what is reserved: a reservation that was lost with Redis and
-- made again under the same id may be of another amount.
local function is_other(payout, said)
  return said and (payout.amount_minor ~= said.amount_minor or payout.currency ~= said.currency
    or payout.rail ~= said.rail or payout.destination ~= said.destination
    or payout.attempt ~= said.attempt)
end

-- What is said of another attempt than the one under way changes nothing. That an attempt which was
-- proven dead has paid after all contradicts the rail's own word: somebody has to look.
local function of_another(payout, op)
  if op.attempt and op.attempt ~= payout.attempt then
    return op.attempt < payout.attempt and PAID[op.state] and 'ignored:contradicted'
      or 'ignored:attempt'
  end
end

-- A rail says that it has paid what was proven not to be, or that it has not what somebody says it has.
local function contradicts(payout, op)
  if PAID[payout.state] then
    return payout.resolved and TERMINAL[op.state] and not PAID[op.state]
  end
  return payout.state == 'failed' and PAID[op.state]
end

local function passed_over(payout, op)
  return 'ignored:' .. (contradicts(payout, op) and 'contradicted' or payout.state)
end

-- Book a payout's step to op.state: the postings, when its rail is asked next, what is told.
local function advance(shard, op, payout)
  local before = payout.state
  local entry = new_entry(shard, op, 'payout.' .. op.state, payout.currency)
  payout.state = op.state
  -- How often the rail was asked since there was news: the next enquiry comes ever later.
  payout.asked = before == op.state and payout.asked + 1 or 0
  if op.by_ref and op.provider_ref and (op.provider_ref ~= payout.provider_ref or before ~= op.state) then
    payout.provider_ref = op.provider_ref
    index(entry, shard, payout)
  end
  payout.provider_ref = op.provider_ref or payout.provider_ref
  payout.category = op.category
  payout.reason = op.reason
  payout.changed_ms = shard.now
  if op.state == 'submitted' and not payout.submitted_ms then
    payout.submitted_ms = shard.now
  end
  settle(entry, payout, before, op.state)
  if payout.day and TERMINAL[op.state] and not PAID[op.state] then
    count_today(entry, shard, payout, -payout.amount_minor)
  end
  take_hints(payout, op)
  if TERMINAL[op.state] and not PAID[op.state] then
    payout.hinted = nil
  end
  store_payout(entry, shard, payout)
  set_timer(entry, shard, op, payout)
  if TERMINAL[op.state] then
    if op.category == 'method' then
      disable_destination(entry, shard, payout, op.reason or 'refused')
    elseif op.retry_ms then
      write(entry, 'ZADD', 't', 'NX', shard.now + op.retry_ms,
        'pay:' .. entry.seller .. ':' .. entry.currency)
    end
  end
  if payout.resolved and before == 'unknown' then
    entry.extra.resolved = encode({payout.resolved.by, payout.resolved.why, payout.resolved.reference or ''})
  end
  payout_update(entry, shard, payout)
  commit(shard, entry)
  return 'booked'
end

-- op: payout, state, and optionally attempt (the one that is spoken of), only_from, expect
-- {amount_minor, currency, rail, destination, attempt}, again (an enquiry's answer: booked also if it
-- changes nothing, as the time of the next one) with hints (how many there were when it was asked),
-- provider_ref, by_ref (true: the rail's reports name nothing else, so that the payout has to be found by
-- it), category, reason, ask_ms (when to enquire next), retry_ms (when what became available is
-- paid anew), hash/topic/… of a rail's report.
-- Outcomes: booked; ignored (a transition that may not be, or nothing new); refused unknown_payout.
function operations.transit(shard, op)
  local payout = find_payout(shard, op)
  if not payout then
    return 'refused:unknown_payout'
  end
  local before = payout.state
  op.seller = payout.seller_id
  op.silent = op.state == 'unknown'
  local other = of_another(payout, op)
  if other then
    return other
  elseif op.only_from and before ~= op.only_from then
    return 'ignored:' .. before
  elseif is_other(payout, op.expect) then
    return 'ignored:other'
  end
  if op.again and TERMINAL[before] and not (TRANSITIONS[before] or {})[op.state] then
    note_answer(shard, op, payout)
    return passed_over(payout, op)
  end
  -- Staying in a state is news only while the payout is under way: it sets the next enquiry.
  if before == op.state and not op.again then
    return 'ignored:' .. before
  end
  if before ~= op.state and not (TRANSITIONS[before] or {})[op.state] then
    if not op.again then
      return passed_over(payout, op)
    end
    -- An enquiry that brought no news (a rail that is down): without a next time for it, the timer
    -- would stay due and the rail be asked without a pause.
    op.state = before
  end
  return advance(shard, op, payout)
end

-- The next attempt of a payout, under the same id: the one before is proven not executed, or was never
-- made. Amount and fee stay. op: payout, attempt (the one that is over), rail, destination, why, wait_ms
-- (0: hand it over at once), and of a proven failure category, reason, only_from.
-- Outcomes: booked; ignored (another attempt is under way, it may have executed, or the destination is
-- no longer the seller's); refused unknown_payout.
function operations.reroute(shard, op)
  local payout = find_payout(shard, op)
  if not payout then
    return 'refused:unknown_payout'
  end
  local before = payout.state
  if op.attempt ~= payout.attempt then
    return 'ignored:attempt'
  elseif not RETRIES_FROM[before] or (op.only_from and before ~= op.only_from)
    or (before == 'reserved') == (op.category ~= nil) then
    return 'ignored:' .. before
  elseif not has_method(shard, payout.seller_id, op.rail, op.destination) then
    return 'ignored:method'
  elseif op.day_max and op.rail ~= payout.rail and payout.amount_minor + sent_today(
    shard, payout.seller_id, op.rail, payout.currency) > op.day_max then
    return 'ignored:day_limit'
  end
  op.seller = payout.seller_id
  local entry = new_entry(shard, op, 'payout.rerouted', payout.currency)
  if op.category == 'method' then
    disable_destination(entry, shard, payout, op.reason or 'refused')
  end
  local moves = op.rail ~= payout.rail
  if payout.day and moves then
    count_today(entry, shard, payout, -payout.amount_minor)
    payout.day = nil
  end
  payout.tried = payout.tried or {}
  payout.tried[#payout.tried + 1] = {payout.rail, payout.destination}
  payout.route[#payout.route + 1] = op.rail .. ':' .. op.why
  payout.state, payout.attempt, payout.asked = 'reserved', payout.attempt + 1, 0
  payout.rail, payout.destination, payout.changed_ms = op.rail, op.destination, shard.now
  payout.category, payout.reason = op.category, op.reason
  payout.provider_ref, payout.submitted_ms, payout.hinted = nil, nil, nil
  if op.day_max and moves then
    count_today(entry, shard, payout, payout.amount_minor)
  end
  store_payout(entry, shard, payout)
  local wait_ms = op.wait_ms > 0 and op.wait_ms or shard.context.ask_ms
  write(entry, 'ZADD', 'e', shard.now + wait_ms, op.payout)
  if op.wait_ms == 0 then
    publish(entry, 'payouts.commands', entry.seller, command(payout))
  end
  payout_update(entry, shard, payout)
  commit(shard, entry)
  return 'booked'
end

-- Ask the rail at once: a report says that money comes back, and only the rail's own answer moves it.
-- op: payout. Outcomes: booked; ignored (it came back before); refused unknown_payout.
function operations.ask(shard, op)
  local payout = find_payout(shard, op)
  if not payout then
    return 'refused:unknown_payout'
  end
  local other = of_another(payout, op)
  if other then
    return other
  elseif TERMINAL[payout.state] and not PAID[payout.state] then
    return 'ignored:' .. payout.state
  end
  op.seller = payout.seller_id
  local entry = new_entry(shard, op, 'payout.hinted', payout.currency)
  payout.hints = (payout.hints or 0) + 1
  payout.hinted = true
  payout.hinted_ms = shard.now
  store_payout(entry, shard, payout)
  write(entry, 'ZADD', 'e', shard.now, op.payout)
  commit(shard, entry)
  return 'booked'
end

-- Ask no more about a payout that is no more. op: payout, due. Outcomes: booked; ignored.
function operations.drop(shard, op)
  local due = call('ZSCORE', shard.prefix .. 'e', op.payout)
  if not due or tonumber(due) ~= op.due then
    return 'ignored:gone'
  end
  local entry = new_entry(shard, op, 'timer.dropped', 'XXX')
  write(entry, 'ZREM', 'e', op.payout)
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
