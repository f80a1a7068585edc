-- Spendback: totals per campaign and period, the thresholds they cross, and the lots that grants make.
--
-- A campaign's tier is granted exactly while the period's total is at or above its threshold, so the
-- end result does not hang on the order in which sales, commissions and returns are booked.

-- A lot of credit as kept in l:<seller>, and its text. Without a period it stands by itself; `only`: the
-- groups of products that it may be spent on, by "|"; empty for any.
local function lot_of(id, text)
  local currency, left, granted, expires, campaign, rest = text:match(
    '^([^,]+),([^,]+),([^,]+),([^,]+),([^,]*)(.*)$')
  local period, tier, only = rest:match('^,([^,]*),([^,]*),(.*)$')
  return {id = id, currency = currency, left = tonumber(left), granted = tonumber(granted),
    expires = tonumber(expires), campaign = campaign, period = period or '', tier = tonumber(tier or ''),
    only = only or ''}
end

local function lot_text(lot)
  return format('%s,%s,%s,%s,%s,%s,%s,%s', lot.currency, int(lot.left), int(lot.granted),
    int(lot.expires), lot.campaign, lot.period, lot.tier and int(lot.tier) or '', lot.only)
end

-- A lot as the entry in the making leaves it; nil if there is none.
local function lot_at(entry, shard, id)
  entry.drafts = entry.drafts or {}
  if entry.drafts[id] == nil then
    local text = call('HGET', shard.prefix .. 'l:' .. entry.seller, id)
    entry.drafts[id] = text and lot_of(id, text) or false
  end
  return entry.drafts[id] or nil
end

-- Keep a lot, or forget it when nothing is left. `timed`: it is new, or expires at another time.
local function put_lot(entry, lot, timed)
  entry.drafts = entry.drafts or {}
  local key, timer = 'l:' .. entry.seller, 'lot:' .. entry.seller .. ':' .. lot.id
  if lot.left > 0 then
    entry.drafts[lot.id] = lot
    write(entry, 'HSET', key, lot.id, lot_text(lot))
    if timed and lot.expires > 0 then
      write(entry, 'ZADD', 't', lot.expires, timer)
    end
  else
    entry.drafts[lot.id] = false
    write(entry, 'HDEL', key, lot.id)
    if lot.expires > 0 then
      write(entry, 'ZREM', 't', timer)
    end
  end
end

-- Tell the journal where money of a lot went: from granted, reinvested, left, authorised, spent, recovered
-- or forgiven, to left, authorised, spent, expired, reversed, recovered or forgiven. What was granted or
-- reinvested is at any time the sum of the last seven.
local function note_lot(entry, lot, from, to, minor)
  if minor == 0 then
    return
  end
  entry.lots = entry.lots or {}
  entry.lots[#entry.lots + 1] = '["' .. lot .. '","' .. entry.currency .. '","' .. from .. '","' .. to .. '",'
    .. int(minor) .. ']'
end

-- `whole`: the amount for the journal, where it is another than the one that moves.
local function credit_event(entry, shard, action, at, lot, amount, extra, whole)
  local kind = at.bonus and 'bonus.' or at.discount and 'discount.' or 'credit.'
  local json = '{"v":1,"type":"' .. kind .. action .. '","id":"'
    .. uuid5(entry.op.id .. '/' .. action .. '/' .. lot) .. '","seller_id":"' .. entry.seller
    .. '","lot":"' .. lot .. '","campaign":"' .. at.campaign .. '","period":"' .. at.period
    .. '","tier":' .. int(at.tier) .. ',"currency":"' .. entry.currency .. '","amount_minor":'
    .. int(amount) .. ',"at_ms":' .. int(shard.now) .. extra .. '}'
  publish(entry, 'spendback.credits', entry.seller, json)
  if action == 'refused' then
    return
  end
  entry.credits = entry.credits or {}
  entry.credits[#entry.credits + 1] = format('["%s","%s","%s","%s","%s",%s,%s]', action, lot,
    at.campaign, at.period, entry.currency, int(at.tier), int(whole or amount))
  entry.extra.credits = '[' .. concat(entry.credits, ',') .. ']'
end

-- What is known of a tier in a period: "<tier>,<lot>,<amount>,<threshold>,<expires ms or 0>[,<flags>
-- [,<spent>]]". Flags: m, money was granted and not credit; d, a discount, of which the amount is what it
-- can cost; b, its cost is drawn from the campaign's
-- budget; r, it waits, and was refused before: the company has been told.
-- Spent: "<lot>=<minor>;…", credit of the grant, and of earlier ones for the same threshold, that stands as
-- spent. In place of a lot:
--   ~  not granted now, and the amount was used of earlier grants
--   ?  reached, and waits for a slice of the budget
--   !  reached, and refused: the budget is spent
local function mark_of(at, lot, amount)
  local flags = (at.bonus and 'm' or '') .. (at.discount and 'd' or '') .. (at.budgeted and 'b' or '')
    .. (lot == '?' and at.told and 'r' or '')
  local spent = {}
  for _, one in ipairs(at.spent or {}) do
    if one[2] > 0 then
      spent[#spent + 1] = one[1] .. '=' .. int(one[2])
    end
  end
  flags = #spent > 0 and flags .. ',' .. concat(spent, ';') or flags
  return format('%s,%s,%s,%s,%s', int(at.tier), lot, int(amount), int(at.threshold), int(at.expires))
    .. (flags ~= '' and ',' .. flags or '')
end

-- The parts of a mark, of which one can be made again: at, lot, amount.
local function at_mark(campaign_id, period, mark)
  local tier, lot, amount, threshold, expires, flags, list = mark:match(
    '^([^,]+),([^,]+),([^,]+),([^,]+),([^,]+),?([mdbr]*),?(.*)$')
  local spent = {}
  for of, minor in list:gmatch('([^=;]+)=(%d+)') do
    spent[#spent + 1] = {of, tonumber(minor)}
  end
  return {campaign = campaign_id, period = period, tier = tonumber(tier), threshold = tonumber(threshold),
    expires = tonumber(expires), bonus = flags:find('m') ~= nil, discount = flags:find('d') ~= nil,
    budgeted = flags:find('b') ~= nil, told = flags:find('r') ~= nil, spent = spent}, lot, tonumber(amount)
end

-- Cost that was drawn from a budget, and is none after all, can be drawn again.
local function undraw(entry, shard, at, amount)
  if at.budgeted and amount > 0 then
    local budget = budget_of(entry, shard, at.campaign, entry.currency)
    draw(entry, budget, -(amount < budget.used and amount or budget.used))
  end
end

-- Give a discount; one that was used or has expired, of an earlier grant, is not given again. The mark.
local function give_discount(entry, shard, at)
  local discount = at.discount
  if not at.gone then
    discounts.keep(entry, discount, 'granted')
  end
  credit_event(entry, shard, 'granted', at, discount.id, at.amount, discounts.told(discount) .. ',"gone":'
    .. tostring(at.gone or false), at.whole)
  return mark_of(at, discount.id, at.amount + at.used)
end

-- Grant. at: campaign, period, tier, threshold, bonus, discount (what is given), budgeted, expires, amount (to
-- move), used (of earlier grants for the same threshold and period), whole (what the threshold is worth),
-- gone (whether a discount of an earlier grant is). The mark.
local function give(entry, shard, at)
  if at.discount then
    return give_discount(entry, shard, at)
  end
  local lot = uuid5(entry.op.id .. '/' .. at.campaign .. '/' .. at.period .. '/' .. int(at.tier))
  local extra = ''
  if at.bonus then
    work_off(entry, shard, '/bonuses', 'available', at.amount, at.amount, 0)
  else
    extra = ',"expires_ms":' .. int(at.expires)
    if at.amount > 0 then
      move(entry, '/spendback', 'credit', at.amount)
      note_lot(entry, lot, 'granted', 'left', at.amount)
      put_lot(entry, {id = lot, currency = entry.currency, left = at.amount, granted = at.amount,
        expires = at.expires, campaign = at.campaign, period = at.period, tier = at.tier, only = ''}, true)
    end
  end
  credit_event(entry, shard, 'granted', at, lot, at.amount, extra, at.whole)
  return mark_of(at, lot, at.amount + at.used)
end

local function refuse(entry, shard, at)
  if at.told then
    return mark_of(at, '!', at.amount)
  end
  credit_event(entry, shard, 'refused', at, uuid5(entry.seller .. '/' .. at.campaign .. '/' .. at.period
    .. '/' .. int(at.tier)), at.amount, ',"reason":"budget_spent"')
  return mark_of(at, '!', at.amount)
end

-- What a threshold waits for, in bw:<campaign>:<currency>.
local function waiting_member(seller, at, forget, amount)
  return format('%s:%s:%s:%s:%s:%s', int(at.tier), at.period, int(forget), int(at.expires), int(amount),
    seller)
end

-- A threshold is reached. `before`: the mark of what was used of earlier grants for it in this period, if
-- anything was; `refused`: its mark, if it was refused before. Returns its mark, and whether it is granted; nil if it is to be
-- looked at again with the next event.
local function grant(entry, shard, campaign, count, step, total, occurred, before, refused)
  local tier, threshold, amount, percent, cap, bonus, terms = unpack(step)
  if bonus and entry.on_hold then
    -- Money does not go out for what is suspected or before its seller may be paid.
    return refused
  end
  if percent > 0 then
    amount = part(total, percent)
    if cap > 0 and amount > cap then
      amount = cap
    end
  end
  -- What was used of an earlier grant for the same threshold is not given again. The journal says
  -- what the threshold is worth: that must not hang on when credit was spent.
  local earlier, used = {}, 0
  if before then
    local _
    earlier, _, used = at_mark(campaign.id, count[2], before)
  end
  local at = {campaign = campaign.id, period = count[2], tier = tier, threshold = threshold,
    bonus = bonus, budgeted = earlier.budgeted, told = refused ~= nil, whole = amount, used = used,
    amount = amount > used and amount - used or 0,
    expires = campaign.expires_ms > 0 and occurred + campaign.expires_ms or 0}
  if terms then
    at.discount, at.gone = discounts.of(at, entry.currency, terms), before ~= nil
    at.amount = at.gone and 0 or amount
  end
  local whole = campaign.budget and campaign.budget[entry.currency]
  if whole and at.amount > 0 then
    at.budgeted = true
    local budget = budget_of(entry, shard, campaign.id, entry.currency)
    if not draw(entry, budget, at.amount) then
      if is_spent(shard, budget, whole) then
        return refused or refuse(entry, shard, at)
      end
      wait_for_slice(entry, shard, budget, at.amount, waiting_member(entry.seller, at, count[3],
        at.amount))
      if terms then
        write(entry, 'HSET', 'gw:' .. entry.seller, at.discount.id, encode(at.discount))
      end
      return mark_of(at, '?', at.amount)
    end
  end
  return give(entry, shard, at), true
end

-- Take an amount back that is gone: of what is available, the rest is debt.
local function charge(entry, to, amount)
  local there = amount < entry.draft.available and amount or entry.draft.available
  move(entry, 'available', to, there)
  move(entry, 'debt', to, amount - there)
end

-- What became of spent credit whose grant is undone is kept under k:<seller>, as "<lot>" =
-- "<recovered>,<forgiven>", until it is refunded.
local function settled_of(entry, shard, lot)
  entry.settled = entry.settled or {}
  if not entry.settled[lot] then
    local text = call('HGET', shard.prefix .. 'k:' .. entry.seller, lot) or '0,0'
    local recovered, forgiven = text:match('^(%d+),(%d+)$')
    entry.settled[lot] = {recovered = tonumber(recovered), forgiven = tonumber(forgiven)}
  end
  return entry.settled[lot]
end

local function keep_settled(entry, lot, settled)
  if settled.recovered + settled.forgiven > 0 then
    write(entry, 'HSET', 'k:' .. entry.seller, lot, int(settled.recovered) .. ',' .. int(settled.forgiven))
  else
    write(entry, 'HDEL', 'k:' .. entry.seller, lot)
  end
end

-- Credit was spent, and its grant is undone: by the company's policy it is recovered, that is, its seller
-- owes it, or forgiven. Returns what was recovered.
local function settle_spent(entry, shard, lot, minor)
  local settled, how = settled_of(entry, shard, lot), 'forgiven'
  if shard.context.spent_is_debt then
    how = 'recovered'
    charge(entry, '/spendback', minor)
  end
  settled[how] = settled[how] + minor
  keep_settled(entry, lot, settled)
  note_lot(entry, lot, 'spent', how, minor)
  return how == 'recovered' and minor or 0
end

-- A threshold is lost: its discount is taken back, if it is there. Returns the mark that it was used or has
-- expired, nil if not.
local function withdraw_discount(entry, shard, at, id, cost)
  local discount = discounts.at(entry, shard, id)
  if discount then
    discounts.drop(entry, discount, 'withdrawn')
    undraw(entry, shard, at, cost)
  end
  credit_event(entry, shard, 'unfired', at, id, discount and cost or 0, ',"gone":'
    .. tostring(not discount))
  return not discount and mark_of(at, '~', cost) or nil
end

-- A return took the total back below the threshold: take back what of the lot is unspent, of money
-- all; what was spent is recovered or forgiven. Returns the mark of what was used of it and not
-- recovered (forgiven, authorised, or expired), nil if nothing was.
local function unfire(entry, shard, campaign_id, period, fired)
  local at, lot, granted = at_mark(campaign_id, period, fired)
  if at.discount then
    return withdraw_discount(entry, shard, at, lot, granted)
  end
  local left, spent, recovered = 0, 0, 0
  if at.bonus then
    left = granted
    charge(entry, '/bonuses', left)
  else
    local held = lot_at(entry, shard, lot)
    if held then
      left, held.left = held.left, 0
      move(entry, 'credit', '/spendback', left)
      note_lot(entry, lot, 'left', 'reversed', left)
      put_lot(entry, held)
    end
    for _, one in ipairs(at.spent) do
      spent = spent + one[2]
      recovered = recovered + settle_spent(entry, shard, one[1], one[2])
    end
    at.spent = {}
  end
  undraw(entry, shard, at, left + recovered)
  local used = granted - left - recovered
  credit_event(entry, shard, 'unfired', at, lot, left, at.bonus and '' or ',"spent_minor":'
    .. int(granted - left) .. ',"recovered_minor":' .. int(recovered) .. ',"forgiven_minor":'
    .. int(spent - recovered))
  return used > 0 and mark_of(at, '~', used) or nil
end

-- The marks of a period by what they say, behind a change of its total: kept as they are, granted or
-- waiting (fired); refused; used of before. In front of the kept ones is a place for the total. What is
-- granted and no longer reached is undone.
local function sort_marks(entry, shard, campaign_id, period, state, total)
  local kept, fired, refused, used = {''}, {}, {}, {}
  for mark in state:gmatch('|([^|]+)') do
    local tier, lot, threshold = mark:match('^([^,]+),([^,]+),[^,]+,([^,]+)')
    tier = tonumber(tier)
    if lot == '~' then
      used[tier] = mark
    elseif total >= tonumber(threshold) then
      if lot == '!' then
        refused[tier] = mark
      else
        kept[#kept + 1] = mark
        fired[tier] = true
      end
    elseif lot ~= '!' and lot ~= '?' then
      used[tier] = unfire(entry, shard, campaign_id, period, mark)
    end
  end
  return kept, fired, refused, used
end

local function keep_tally(entry, suffix, forget, state)
  entry.tallies = entry.tallies or {}
  entry.tallies[suffix] = state
  if forget > 0 then
    write(entry, 'SET', suffix, state, 'PXAT', forget)
  else
    write(entry, 'SET', suffix, state)
  end
end

local function tally_key(seller, campaign_id, period, currency)
  return 'n:' .. seller .. ':' .. campaign_id .. ':' .. period .. ':' .. currency
end

local function tally_state(entry, shard, suffix)
  return entry.tallies and entry.tallies[suffix] or get(shard, suffix) or nil
end

-- The mark of the grant that a lot's threshold has now, and the others of it by what stands in place of a
-- lot; nothing if the period is forgotten or there was none. `of`: campaign, period, tier.
local function marks_of(entry, shard, of)
  local found, marks = nil, {}
  local key = of.period ~= '' and tally_key(entry.seller, of.campaign, of.period, entry.currency)
  for mark in (key and tally_state(entry, shard, key) or ''):gmatch('|([^|]+)') do
    local at, lot = at_mark(of.campaign, of.period, mark)
    if at.tier == of.tier and #lot > 1 and not (at.bonus or at.discount) then
      found = mark
    elseif at.tier == of.tier then
      marks[lot] = mark
    end
  end
  return found, marks
end

-- Put marks of a period in place of others: by these, '' for none.
local function replace_marks(entry, shard, of, again)
  local key = tally_key(entry.seller, of.campaign, of.period, entry.currency)
  local expiry, kept = call('PEXPIRETIME', shard.prefix .. key), {}
  for mark in tally_state(entry, shard, key):gmatch('[^|]+') do
    if again[mark] ~= '' then
      kept[#kept + 1] = again[mark] or mark
    end
  end
  keep_tally(entry, key, expiry > 0 and expiry or 0, concat(kept, '|'))
end

-- Credit of a lot was spent, or with an amount below zero no longer is: the mark of its grant says how much.
-- If the grant is undone, it is recovered or forgiven at once: returns what was recovered, and the marks.
local function spend_lot(entry, shard, lot, of, minor)
  local mark, marks = marks_of(entry, shard, of)
  if mark then
    local at, granted, amount = at_mark(of.campaign, of.period, mark)
    local mine
    for _, one in ipairs(at.spent) do
      mine = one[1] == lot and one or mine
    end
    if not mine then
      mine = {lot, 0}
      at.spent[#at.spent + 1] = mine
    end
    mine[2] = mine[2] + minor > 0 and mine[2] + minor or 0
    replace_marks(entry, shard, of, {[mark] = mark_of(at, granted, amount)})
  elseif marks['~'] and minor > 0 then
    return settle_spent(entry, shard, lot, minor), marks
  end
  return 0, marks
end

local function total_of(state)
  return state and (tonumber(state) or tonumber(state:match('^[^|]+'))) or 0
end

-- Grant and undo what follows from a period's total; `reached` is what thresholds are compared with.
-- `at`: {campaign id, period, forget-at ms}.
local function settle_period(entry, shard, at, campaign, state, total, reached, occurred)
  local campaign_id, period, forget = unpack(at)
  local parts, fired, refused, used = sort_marks(entry, shard, campaign_id, period, state, reached)
  if campaign then
    for _, step in ipairs(campaign.steps[entry.currency] or {}) do
      local tier = step[1]
      if reached >= step[2] and not fired[tier] then
        local mark, granted = grant(entry, shard, campaign, at, step, reached, occurred, used[tier],
          refused[tier])
        refused[tier] = nil
        parts[#parts + 1] = mark
        if granted then
          used[tier] = nil
        end
      end
    end
  end
  for _, mark in pairs(refused) do
    parts[#parts + 1] = mark
  end
  for _, mark in pairs(used) do
    parts[#parts + 1] = mark
  end
  parts[1] = int(total)
  keep_tally(entry, tally_key(entry.seller, campaign_id, period, entry.currency), forget,
    concat(parts, '|'))
end

-- A streak: thresholds are compared with the least total of the last n periods, so that a change of one
-- period matters for it and for the n - 1 behind it. `near`: {period, forget-at ms} of the n - 1 periods
-- before, of the changed one, and of the n - 1 behind.
local function settle_streak(entry, shard, campaign_id, near, campaign, delta, occurred)
  local n = (#near + 1) / 2
  local states, totals = {}, {}
  for i = 1, #near do
    states[i] = tally_state(entry, shard, tally_key(entry.seller, campaign_id, near[i][1],
      entry.currency))
    totals[i] = total_of(states[i])
  end
  totals[n] = totals[n] + delta
  for i = n, #near do
    local least = totals[i]
    for j = i - n + 1, i do
      least = totals[j] < least and totals[j] or least
    end
    if i == n or states[i] then
      settle_period(entry, shard, {campaign_id, near[i][1], near[i][2]}, campaign, states[i] or '0',
        totals[i], least, occurred)
    end
  end
end

-- Add `delta` to a period's total. `campaign` {id, steps, expires_ms, budget} is nil where only a
-- decrease is possible (a return): what was granted carries its own threshold.
-- `count`: {campaign id, period, forget-at ms, metric, near (of a streak)}.
local function tally(entry, shard, count, campaign, delta, occurred)
  if count[5] then
    settle_streak(entry, shard, count[1], count[5], campaign, delta, occurred)
    return
  end
  local state = tally_state(entry, shard, tally_key(entry.seller, count[1], count[2], entry.currency))
  local total = total_of(state) + delta
  settle_period(entry, shard, count, campaign, state or '0', total, total, occurred)
end

-- What a sale or commission adds to a metric; a sale taken back whole no longer counts.
local function metric_of(record, metric)
  if metric == 'volume' then
    return record.base - record.returned
  elseif metric == 'earnings' then
    return record.amount - record.reversed
  elseif metric == 'first_sale' then
    return record.first and record.base - record.returned or 0
  end
  return (record.base > record.returned or record.base == 0) and 1 or 0
end
