-- Topping up: a shard hears of a slice of a budget, and what waited for it is granted or refused.

-- The marks of a period, and of one tier which waits for an amount, and what was used of it before.
local function waiting_marks(state, tier, amount)
  local marks, waiting, used = {}, nil, 0
  for mark in state:gmatch('[^|]+') do
    local of, lot, minor = mark:match('^([^,]+),([^,]+),([^,]+)')
    if of == tier and lot == '?' and minor == amount then
      waiting = mark
    elseif of == tier and lot == '~' then
      used = tonumber(minor)
    end
    marks[#marks + 1] = mark
  end
  return marks, waiting, used
end

-- A threshold that has waited for a slice is granted from what the shard was handed, or else refused; if
-- it is not reached any more, or waits anew for another amount, nothing comes of this wait.
local function settle_threshold(shard, op, member)
  local tier, period, forget, amount, seller = member:match('^(%d+):([^:]+):(%d+):%d+:(%d+):(.*)$')
  local settling = {id = op.id .. '/' .. member, seller = seller}
  local entry = new_entry(shard, settling, 'threshold.settled', op.currency)
  write(entry, 'ZREM', 'bw:' .. op.campaign .. ':' .. op.currency, member)
  local suffix = tally_key(seller, op.campaign, period, op.currency)
  local marks, waiting, used = waiting_marks(get(shard, suffix) or '0', tier, amount)
  if waiting then
    local at = at_mark(op.campaign, period, waiting)
    at.discount = at.discount and discounts.waiting(entry, shard, op, period, at.tier)
    at.used, at.amount, at.whole = used, tonumber(amount), tonumber(amount) + used
    local granted = draw(entry, budget_of(entry, shard, op.campaign, op.currency), at.amount)
    local mark = granted and give(entry, shard, at) or refuse(entry, shard, at)
    if granted and at.bonus and entry.draft.available > 0 then
      write(entry, 'ZADD', 't', 'NX', shard.now, 'pay:' .. seller .. ':' .. op.currency)
    end
    local kept = {}
    for _, each in ipairs(marks) do
      if each == waiting then
        kept[#kept + 1] = mark
      elseif not (granted and each:match('^([^,]+,~),') == tier .. ',~') then
        kept[#kept + 1] = each
      end
    end
    keep_tally(entry, suffix, tonumber(forget), concat(kept, '|'))
  elseif not concat(marks, '|'):find('|' .. tier .. ',?,', 1, true) then
    discounts.waiting(entry, shard, op, period, tonumber(tier))
  end
  commit(shard, entry)
end

-- Which of the thresholds that wait can be settled now: all that the shard can pay, and the others as
-- well, by a refusal, once the budget is spent.
local function settled_by(budget, waiting)
  local free, found = budget.got - budget.used, {}
  for i = 1, #waiting do
    local amount = tonumber(waiting[i]:match('^%d+:[^:]+:%d+:%d+:(%d+):'))
    local payable = amount <= free
    if payable then
      free = free - amount
    end
    if payable or budget.spent_at > 0 then
      found[#found + 1] = waiting[i]
      budget.needed = budget.needed > amount and budget.needed - amount or 0
    end
  end
  return found
end

-- A slice has come, or there is none left; what waited for it is granted or refused, so many
-- thresholds in a call. op: campaign, currency, turn, handed (to the shard in all), spent_at (the whole
-- budget, if nothing is left of it; else 0), timer, due. Outcomes: booked; ignored:gone; ignored:turn.
function operations.topup(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  if not due or tonumber(due) ~= op.due then
    return 'ignored:gone'
  end
  local entry = new_entry(shard, op, 'budget.topped_up', 'XXX')
  local budget = budget_of(entry, shard, op.campaign, op.currency)
  if op.turn == budget.turn + 1 then
    budget.turn, budget.handed, budget.spent_at = op.turn, op.handed, op.spent_at
    budget.got, budget.again = op.handed - budget.back, shard.now + SPENT_MS
  elseif op.turn ~= budget.turn then
    return 'ignored:turn'
  end
  local waiting = call('ZRANGEBYSCORE', shard.prefix .. 'bw:' .. budget.name, '-inf', '+inf', 'LIMIT', 0,
    SETTLED_MAX)
  local settled = settled_by(budget, waiting)
  if #settled == #waiting and #waiting < SETTLED_MAX then
    -- Nothing waits any more; else the timer stays, and another slice is asked for.
    budget.needed = 0
    write(entry, 'ZREM', 't', op.timer)
  end
  keep_budget(entry, budget)
  commit(shard, entry)
  for i = 1, #settled do
    local settle = settled[i]:sub(1, 2) == '0:' and reinvest.settle or settle_threshold
    settle(shard, op, settled[i])
  end
  return 'booked'
end
