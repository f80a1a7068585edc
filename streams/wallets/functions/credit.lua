-- Credit: spendback is spent on the company's products, soonest expiry first, or expires.

-- Lots of a seller in a currency, soonest expiry first (0 = never, last), then by id.
local function lots_of(shard, seller, currency)
  local flat = call('HGETALL', shard.prefix .. 'l:' .. seller)
  local lots = {}
  for i = 1, #flat, 2 do
    local lot = lot_of(flat[i], flat[i + 1])
    if lot.currency == currency then
      lots[#lots + 1] = lot
    end
  end
  table.sort(lots, function(a, b)
    local first = a.expires == 0 and EXACT_MAX or a.expires
    local second = b.expires == 0 and EXACT_MAX or b.expires
    if first ~= second then
      return first < second
    end
    return a.id < b.id
  end)
  return lots
end

-- What may only be spent on some products needs to be authorised at the till, which knows the basket.
-- op: currency, amount. Outcomes: booked; refused insufficient_credit.
function operations.redeem(shard, op)
  local entry = new_entry(shard, op, op.kind, op.currency)
  local rest = op.amount
  for _, lot in ipairs(lots_of(shard, op.seller, op.currency)) do
    local expired = lot.expires > 0 and lot.expires <= shard.now
    local used = lot.left < rest and lot.left or rest
    if used > 0 and not expired and lot.only == '' then
      rest = rest - used
      lot.left = lot.left - used
      note_lot(entry, lot.id, 'left', 'spent', used)
      spend_lot(entry, shard, lot.id, lot, used)
      put_lot(entry, lot)
    end
  end
  if rest > 0 then
    return 'refused:insufficient_credit'
  end
  move(entry, 'credit', '/sales', op.amount)
  commit(shard, entry)
  return 'booked'
end

-- A lot's time is over. op: seller, lot, timer, due. Outcomes: booked; ignored.
function operations.expire(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  local text = call('HGET', shard.prefix .. 'l:' .. op.seller, op.lot)
  if not due or tonumber(due) ~= op.due or not text then
    return 'ignored:gone'
  end
  local lot = lot_of(op.lot, text)
  local entry = new_entry(shard, op, 'credit.expired', lot.currency)
  move(entry, 'credit', '/spendback', lot.left)
  note_lot(entry, op.lot, 'left', 'expired', lot.left)
  write(entry, 'HDEL', 'l:' .. op.seller, op.lot)
  write(entry, 'ZREM', 't', op.timer)
  commit(shard, entry)
  return 'booked'
end
