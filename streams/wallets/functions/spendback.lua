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

-- Tell the journal where money of a lot went: from granted, left, authorised or spent, to left,
-- authorised, spent, expired or reversed. What was granted is at any time the sum of the last five.
local function note_lot(entry, lot, from, to, minor)
  if minor == 0 then
    return
  end
  entry.lots = entry.lots or {}
  entry.lots[#entry.lots + 1] = format('["%s","%s","%s","%s",%s]', lot, entry.currency, from, to, int(minor))
  entry.extra.lots = '[' .. concat(entry.lots, ',') .. ']'
end

-- `whole`: the amount for the journal, where it is another than the one that moves.
local function credit_event(entry, shard, action, campaign, period, tier, lot, amount, extra, whole)
  local json = '{"v":1,"type":"credit.' .. action .. '","id":"' .. uuid5(entry.op.id .. '/' .. action
    .. '/' .. lot) .. '","seller_id":"' .. entry.seller .. '","lot":"' .. lot .. '","campaign":"'
    .. campaign .. '","period":"' .. period .. '","tier":' .. int(tier) .. ',"currency":"'
    .. entry.currency .. '","amount_minor":' .. int(amount) .. ',"at_ms":' .. int(shard.now) .. extra
    .. '}'
  publish(entry, 'spendback.credits', entry.seller, json)
  entry.credits = entry.credits or {}
  entry.credits[#entry.credits + 1] = format('["%s","%s","%s","%s","%s",%s,%s]', action, lot,
    campaign, period, entry.currency, int(tier), int(whole or amount))
  entry.extra.credits = '[' .. concat(entry.credits, ',') .. ']'
end

-- `used`: what was used of earlier grants for the same threshold and period.
local function grant(entry, shard, campaign, period, step, total, occurred, used)
  local tier, threshold, amount, percent, cap = unpack(step)
  if percent > 0 then
    amount = part(total, percent)
    if cap > 0 and amount > cap then
      amount = cap
    end
  end
  -- What was used of an earlier grant for the same threshold is not given again. The journal says
  -- what the threshold is worth: that must not hang on when credit was spent.
  local whole = amount
  amount = amount > used and amount - used or 0
  local lot = uuid5(entry.op.id .. '/' .. campaign.id .. '/' .. period .. '/' .. int(tier))
  local expires = campaign.expires_ms > 0 and occurred + campaign.expires_ms or 0
  if amount > 0 then
    move(entry, '/spendback', 'credit', amount)
    note_lot(entry, lot, 'granted', 'left', amount)
    put_lot(entry, {id = lot, currency = entry.currency, left = amount, granted = amount,
      expires = expires, campaign = campaign.id, period = period, tier = tier, only = ''}, true)
  end
  credit_event(entry, shard, 'granted', campaign.id, period, tier, lot, amount,
    ',"expires_ms":' .. int(expires), whole)
  return format('%s,%s,%s,%s,%s', int(tier), lot, int(amount + used), int(threshold), int(expires))
end

-- A return took the total back below the threshold: take back what of the lot is unspent. Returns
-- the mark of what was used of it (spent, authorised, or expired), nil if nothing was.
local function unfire(entry, shard, campaign_id, period, fired)
  local tier, lot, granted, threshold = fired:match('^([^,]+),([^,]+),([^,]+),([^,]+)')
  local held = lot_at(entry, shard, lot)
  local left = 0
  if held then
    left, held.left = held.left, 0
    move(entry, 'credit', '/spendback', left)
    note_lot(entry, lot, 'left', 'reversed', left)
    put_lot(entry, held)
  end
  local used = tonumber(granted) - left
  credit_event(entry, shard, 'unfired', campaign_id, period, tonumber(tier), lot, left,
    ',"spent_minor":' .. int(used))
  return used > 0 and format('%s,~,%s,%s', tier, int(used), threshold) or nil
end

-- Add `delta` to a period's total. `campaign` {id, steps, expires_ms} is nil where only a decrease
-- is possible (a return): what was granted carries its own threshold.
-- `count`: {campaign id, period, forget-at ms}.
local function tally(entry, shard, count, campaign, delta, occurred)
  local campaign_id, period, forget = unpack(count)
  local suffix = 'n:' .. entry.seller .. ':' .. campaign_id .. ':' .. period .. ':' .. entry.currency
  entry.tallies = entry.tallies or {}
  local state = entry.tallies[suffix] or get(shard, suffix) or '0'
  local total = (tonumber(state) or tonumber(state:match('^[^|]+'))) + delta
  local parts, fired, used = {int(total)}, {}, {}
  for mark in state:gmatch('|([^|]+)') do
    local tier, lot, threshold = mark:match('^([^,]+),([^,]+),[^,]+,([^,]+)')
    if lot == '~' then
      used[tonumber(tier)] = mark
    elseif total >= tonumber(threshold) then
      parts[#parts + 1] = mark
      fired[tonumber(tier)] = true
    else
      used[tonumber(tier)] = unfire(entry, shard, campaign_id, period, mark)
    end
  end
  if campaign then
    for _, step in ipairs(campaign.steps[entry.currency] or {}) do
      local tier = step[1]
      if total >= step[2] and not fired[tier] then
        local before = used[tier] and tonumber(used[tier]:match('~,([^,]+),')) or 0
        parts[#parts + 1] = grant(entry, shard, campaign, period, step, total, occurred, before)
        used[tier] = nil
      end
    end
  end
  for _, mark in pairs(used) do
    parts[#parts + 1] = mark
  end
  state = concat(parts, '|')
  entry.tallies[suffix] = state
  if forget > 0 then
    write(entry, 'SET', suffix, state, 'PXAT', forget)
  else
    write(entry, 'SET', suffix, state)
  end
end

-- What a sale or commission adds to a metric; a sale taken back whole no longer counts.
local function metric_of(record, metric)
  if metric == 'volume' then
    return record.base - record.returned
  elseif metric == 'earnings' then
    return record.amount - record.reversed
  end
  return (record.base > record.returned or record.base == 0) and 1 or 0
end
