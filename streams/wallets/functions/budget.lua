-- Budgets: what a campaign may cost in all, company-wide, though every shard grants by itself.
--
-- The shard that is the budget's home hands out slices; a shard grants from what it was handed. Both
-- keep the turn, which counts the slices of a shard: a question or an answer that comes twice, or late,
-- changes nothing. A slice is taken from the budget, for good, before its shard hears of it.
--   B:<campaign>:<currency>   hash  at home: shard = "<turn>,<handed to it in all>"; given = handed out
--   b:<campaign>:<currency>   in every shard: "<turn>,<got>,<used>,<needed>,<budget, if it is spent>"
--   bw:<campaign>:<currency>  zset  thresholds that wait for a slice, by time: "<tier>:<period>:<forget
--                                   ms>:<expires ms>:<amount>:<seller>"
-- The timer "bud:<campaign>:<currency>" says that a shard needs a slice.

-- Slices are a small part of what is left, so that little lies idle in shards that grant seldom.
local SLICES = 512
local SETTLED_MAX = 100

local function budget_of(entry, shard, campaign, currency)
  local name = campaign .. ':' .. currency
  entry.budgets = entry.budgets or {}
  local budget = entry.budgets[name]
  if not budget then
    local turn, got, used, needed, spent_at = (get(shard, 'b:' .. name) or '0,0,0,0,0'):match(
      '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
    budget = {name = name, turn = tonumber(turn), got = tonumber(got), used = tonumber(used),
      needed = tonumber(needed), spent_at = tonumber(spent_at), drawn = 0}
    entry.budgets[name] = budget
  end
  return budget
end

-- What the journal is told: campaign, currency, drawn by this entry, drawn in all, handed to the shard.
local function keep_budget(entry, budget)
  write(entry, 'SET', 'b:' .. budget.name, format('%s,%s,%s,%s,%s', int(budget.turn), int(budget.got),
    int(budget.used), int(budget.needed), int(budget.spent_at)))
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

-- A threshold waits for a slice.
local function wait_for_slice(entry, shard, budget, amount, member)
  budget.needed = budget.needed + amount
  budget.spent_at = 0  -- the budget may have been raised
  keep_budget(entry, budget)
  write(entry, 'ZADD', 'bw:' .. budget.name, shard.now, member)
  write(entry, 'ZADD', 't', 'NX', shard.now, 'bud:' .. budget.name)
end

-- At home: hand a slice to a shard. op: campaign, currency, to (the shard), turn (its latest), need,
-- budget (the whole). Outcomes: given:<handed to it in all>:<left of the budget>; ignored:turn.
function operations.slice(shard, op)
  local key, field = 'B:' .. op.campaign .. ':' .. op.currency, int(op.to)
  local turn, handed = (call('HGET', shard.prefix .. key, field) or '0,0'):match('^(%d+),(%d+)$')
  turn, handed = tonumber(turn), tonumber(handed)
  local given = tonumber(call('HGET', shard.prefix .. key, 'given') or 0)
  local left = given < op.budget and op.budget - given or 0
  if turn == op.turn + 1 then
    return 'given:' .. int(handed) .. ':' .. int(left)
  elseif turn ~= op.turn then
    return 'ignored:turn'
  end
  local slice = floor(left / SLICES)
  slice = slice > op.need and slice or op.need
  slice = slice < left and slice or left
  handed, given, left = handed + slice, given + slice, left - slice
  local entry = new_entry(shard, op, 'budget.sliced', 'XXX')
  write(entry, 'HSET', key, field, int(turn + 1) .. ',' .. int(handed))
  write(entry, 'HSET', key, 'given', int(given))
  entry.extra.slice = format('["%s","%s",%s,%s,%s,%s]', op.campaign, op.currency, field, int(handed),
    int(given), int(op.budget))
  commit(shard, entry)
  return 'given:' .. int(handed) .. ':' .. int(left)
end
