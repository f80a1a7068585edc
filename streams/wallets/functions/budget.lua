-- Budgets: what a campaign may cost in all, company-wide, though every shard grants by itself.
--
-- The shard that is the budget's home hands out slices; a shard grants from what it was handed. Both
-- keep the turn, which counts the slices of a shard: a question or an answer that comes twice, or late,
-- changes nothing. A slice is taken from the budget, for good, before its shard hears of it.
-- When the home is short, what lies idle in other shards is called in: a shard gives it back, for good,
-- before the home hears of it. Both keep what came back in all, so that telling it again changes nothing.
--   B:<campaign>:<currency>   hash  at home: shard = "<turn>,<handed to it in all>,<of that come back>"; given =
--                                   handed out and not come back
--   b:<campaign>:<currency>   in every shard: "<turn>,<handed to it in all>,<used>,<needed>,<budget, if it is
--                                   spent>,<of what was handed given back>,<ms until which it is taken for spent>"
--   bw:<campaign>:<currency>  zset  thresholds that wait for a slice, by time: "<tier>:<period>:<forget
--                                   ms>:<expires ms>:<amount>:<seller>"; bonuses on what was reinvested:
--                                   "0:@:0:<expires ms>:<amount>:<seller>/<what they are of>"
-- The timer "bud:<campaign>:<currency>" says that a shard needs a slice.

-- Slices are a small part of what is left, so that little lies idle in shards that grant seldom.
local SLICES = 512
local SETTLED_MAX = 100
-- How long a shard takes a budget for spent, before it asks again: meanwhile returns may have freed some.
local SPENT_MS = 300000

-- The numbers in a text; what is not there is 0.
local function numbers_in(text, count)
  local found = {}
  for number in (text or ''):gmatch('%d+') do
    found[#found + 1] = tonumber(number)
  end
  for i = #found + 1, count do
    found[i] = 0
  end
  return found
end

local function budget_of(entry, shard, campaign, currency)
  local name = campaign .. ':' .. currency
  entry.budgets = entry.budgets or {}
  local budget = entry.budgets[name]
  if not budget then
    local turn, handed, used, needed, spent_at, back, again = unpack(numbers_in(get(shard, 'b:' .. name), 7))
    budget = {name = name, turn = turn, handed = handed, used = used, needed = needed, spent_at = spent_at,
      back = back, again = again, got = handed - back, drawn = 0}
    entry.budgets[name] = budget
  end
  return budget
end

-- What the journal is told: campaign, currency, drawn by this entry, drawn in all, what the
-- shard was handed and has not given back.
local function keep_budget(entry, budget)
  write(entry, 'SET', 'b:' .. budget.name, format('%s,%s,%s,%s,%s,%s,%s', int(budget.turn),
    int(budget.handed), int(budget.used), int(budget.needed), int(budget.spent_at), int(budget.back),
    int(budget.again)))
  local parts = {}
  for name, each in pairs(entry.budgets) do
    local campaign, currency = name:match('^([^:]+):(.*)$')
    parts[#parts + 1] = format('["%s","%s",%s,%s,%s]', campaign, currency, int(each.drawn),
      int(each.used), int(each.got))
  end
  entry.extra.budgets = '[' .. concat(parts, ',') .. ']'
end

-- Take an amount, which may be below zero, of what the shard was handed; false if it is not there.
local function draw(entry, budget, amount)
  if budget.used + amount > budget.got then
    return false
  end
  budget.used = budget.used + amount
  budget.drawn = budget.drawn + amount
  keep_budget(entry, budget)
  return true
end

-- Whether a budget of this size is taken for spent.
local function is_spent(shard, budget, whole)
  return budget.spent_at == whole and shard.now < budget.again
end

-- A threshold waits for a slice.
local function wait_for_slice(entry, shard, budget, amount, member)
  budget.needed = budget.needed + amount
  budget.spent_at = 0  -- the budget may have been raised
  keep_budget(entry, budget)
  write(entry, 'ZADD', 'bw:' .. budget.name, shard.now, member)
  write(entry, 'ZADD', 't', 'NX', shard.now, 'bud:' .. budget.name)
end

-- How a shard stands at the budget's home: turn, handed to it in all, of that come back.
local function row_of(shard, key, field)
  return unpack(numbers_in(call('HGET', shard.prefix .. key, field) or nil, 3))
end

-- Keep it, and tell the journal: campaign, currency, shard, what it has in all, what all have, the budget.
local function keep_row(entry, op, key, field, row, given)
  write(entry, 'HSET', key, field, int(row[1]) .. ',' .. int(row[2]) .. ',' .. int(row[3]))
  write(entry, 'HSET', key, 'given', int(given))
  entry.extra.slice = format('["%s","%s",%s,%s,%s,%s]', op.campaign, op.currency, field,
    int(row[2] - row[3]), int(given), int(op.budget))
end

-- The other shards that have something of the budget, used or idle.
local function holders_of(shard, key, field)
  local flat, found = call('HGETALL', shard.prefix .. key), {}
  for i = 1, #flat, 2 do
    local row = numbers_in(flat[i + 1], 3)
    if flat[i] ~= 'given' and flat[i] ~= field and row[2] > row[3] then
      found[#found + 1] = flat[i]
    end
  end
  return found
end

-- At home: hand a slice to a shard. op: campaign, currency, to (the shard), turn (its latest), need,
-- budget (the whole), last (what lies idle was called in: less than the need will do). Outcomes:
-- given:<handed to it in all>:<left of the budget>; short:<shard>,… (call in what lies idle in these, and
-- ask again); ignored:turn.
function operations.slice(shard, op)
  local key, field = 'B:' .. op.campaign .. ':' .. op.currency, int(op.to)
  local turn, handed, back = row_of(shard, key, field)
  local given = tonumber(call('HGET', shard.prefix .. key, 'given') or 0)
  local left = given < op.budget and op.budget - given or 0
  if turn == op.turn + 1 then
    return 'given:' .. int(handed) .. ':' .. int(left)
  elseif turn ~= op.turn then
    return 'ignored:turn'
  end
  if left < op.need and not op.last then
    local holders = holders_of(shard, key, field)
    if #holders > 0 then
      return 'short:' .. concat(holders, ',')
    end
  end
  local slice = floor(left / SLICES)
  slice = slice > op.need and slice or op.need
  slice = slice < left and slice or left
  handed, given, left = handed + slice, given + slice, left - slice
  local entry = new_entry(shard, op, 'budget.sliced', 'XXX')
  keep_row(entry, op, key, field, {turn + 1, handed, back}, given)
  commit(shard, entry)
  return 'given:' .. int(handed) .. ':' .. int(left)
end

-- A shard gives back what of its slices is not used, also if thresholds wait in it: they ask again. op:
-- campaign, currency. Outcomes: back:<given back in all>.
function operations.give_back(shard, op)
  local entry = new_entry(shard, op, 'budget.returned', 'XXX')
  local budget = budget_of(entry, shard, op.campaign, op.currency)
  local idle = budget.got - budget.used
  if idle > 0 then
    budget.got, budget.back = budget.got - idle, budget.back + idle
    keep_budget(entry, budget)
    commit(shard, entry)
  end
  return 'back:' .. int(budget.back)
end

-- At home: what a shard has given back can be handed out again. op: campaign, currency, from (the shard),
-- back (in all), budget (the whole). Outcomes: booked; ignored:known.
function operations.reclaim(shard, op)
  local key, field = 'B:' .. op.campaign .. ':' .. op.currency, int(op.from)
  local turn, handed, before = row_of(shard, key, field)
  if op.back <= before then
    return 'ignored:known'
  end
  local given = tonumber(call('HGET', shard.prefix .. key, 'given') or 0) - (op.back - before)
  local entry = new_entry(shard, op, 'budget.reclaimed', 'XXX')
  keep_row(entry, op, key, field, {turn, handed, op.back}, given)
  commit(shard, entry)
  return 'booked'
end
