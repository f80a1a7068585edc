-- Discounts: lots of their own kind, each of which takes something off one purchase to come.
--
-- A discount is kept as JSON under g:<seller>, by its id: currency, campaign, expires (ms or 0), bp (basis
-- points of the basket, rounded down, at most cap if that is above 0) or amount, min (what the basket must
-- come to), only (groups of products, by "|"; empty for any), stacks (may be used with others that stack);
-- of a campaign's threshold also period and tier. It is used once.
--
-- What a threshold gives that waits for a slice of its budget is kept as JSON under gw:<seller>, by the id
-- that it will have.

local discounts = {}

-- The id of what a threshold gives in a period: the same whenever it is given.
function discounts.id(campaign, period, tier, currency)
  return 'discount.' .. campaign .. '.' .. period .. '.' .. int(tier) .. '.' .. currency
end

-- Tell the journal what became of a discount: granted, used, returned (it may be used again), withdrawn
-- (its grant was undone), expired.
function discounts.note(entry, id, what)
  entry.discounts = entry.discounts or {}
  entry.discounts[#entry.discounts + 1] = format('["%s","%s"]', id, what)
  entry.extra.discounts = '[' .. concat(entry.discounts, ',') .. ']'
end

-- A discount that can be used, as the entry in the making leaves it; nil if there is none.
function discounts.at(entry, shard, id)
  entry.offers = entry.offers or {}
  if entry.offers[id] == nil then
    local text = call('HGET', shard.prefix .. 'g:' .. entry.seller, id)
    entry.offers[id] = text and decode(text) or false
  end
  return entry.offers[id] or nil
end

function discounts.keep(entry, discount, what)
  entry.offers = entry.offers or {}
  entry.offers[discount.id] = discount
  write(entry, 'HSET', 'g:' .. entry.seller, discount.id, encode(discount))
  if discount.expires > 0 then
    write(entry, 'ZADD', 't', discount.expires, 'discount:' .. entry.seller .. '/' .. discount.id)
  end
  discounts.note(entry, discount.id, what)
end

function discounts.drop(entry, discount, what)
  entry.offers = entry.offers or {}
  entry.offers[discount.id] = false
  write(entry, 'HDEL', 'g:' .. entry.seller, discount.id)
  if discount.expires > 0 then
    write(entry, 'ZREM', 't', 'discount:' .. entry.seller .. '/' .. discount.id)
  end
  discounts.note(entry, discount.id, what)
end

-- What a threshold gives, from its terms {bp and cap or amount, min, only, stacks}.
function discounts.of(at, currency, terms)
  return {id = discounts.id(at.campaign, at.period, at.tier, currency), currency = currency,
    campaign = at.campaign, period = at.period, tier = at.tier, expires = at.expires, bp = terms.bp,
    cap = terms.cap, amount = terms.amount, min = terms.min, only = terms.only, stacks = terms.stacks}
end

-- What a threshold gives, which has waited for it and waits no more; nil if that is no discount.
function discounts.waiting(entry, shard, op, period, tier)
  local id = discounts.id(op.campaign, period, tier, op.currency)
  local text = call('HGET', shard.prefix .. 'gw:' .. entry.seller, id)
  if text then
    write(entry, 'HDEL', 'gw:' .. entry.seller, id)
  end
  return text and decode(text) or nil
end

-- As an event has it.
function discounts.told(discount)
  local worth = discount.bp and '"percent_bp":' .. int(discount.bp) .. ',"cap_minor":' .. int(discount.cap)
    or '"off_minor":' .. int(discount.amount)
  local groups = {}
  for group in discount.only:gmatch('[^|]+') do
    groups[#groups + 1] = '"' .. group .. '"'
  end
  return ',"expires_ms":' .. int(discount.expires) .. ',' .. worth .. ',"basket_min_minor":'
    .. int(discount.min) .. ',"products":[' .. concat(groups, ',') .. '],"stacks":'
    .. tostring(discount.stacks)
end
