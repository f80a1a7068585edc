-- Profiles: what is known of a seller, and the earnings that waited for it.

-- A return that came while its sale waited: it counts now, behind the sale.
local function release_return(shard, op, item, record)
  local own = {id = op.id .. '/' .. item.ref, seller = op.seller}
  local entry = new_entry(shard, own, 'return.released', record.currency)
  local shown = record.shown or record.returned - item.base
  count_back(shard, entry, record, shown, item.base, item.ref)
  record.shown = shown + item.base < record.returned and shown + item.base or nil
  store(shard, entry, 'r:' .. item.record, record)
  commit(shard, entry)
end

-- What is held of an earning goes on as one does that is available at once. terms: schedule, reinvest.
local function set_free(entry, shard, name, record, terms)
  local held = record.held
  -- Through a house account that ends at zero, so that debt which arose meanwhile is worked off.
  move(entry, 'held', '/transit', held)
  local kept = work_off(entry, shard, '/transit', 'available', record.amount - record.reversed,
    held, record.worked or 0)
  local worked = (record.worked or 0) + held - kept
  record.held, record.worked, record.sold = 0, nil, nil
  note_held(entry, shard, name, record, held, 'released')
  if terms.schedule and not record.pending then -- an earning has one lot that is pending
    kept = kept - releases.hold(entry, shard, name, record, kept, terms.schedule, worked)
  end
  if terms.reinvest then
    reinvest.standing(entry, shard, record, kept, terms.reinvest, name)
  end
end

local function settle_waiting(shard, op, item, release)
  if item.take then
    local own = {id = op.id .. '/' .. item.ref, seller = op.seller}
    local entry = new_entry(shard, own, 'return.released', item.currency)
    take_effect_back(shard, entry, item, release.counts, release.up)
    entry.extra.released = '"' .. item.ref .. '"'
    commit(shard, entry)
    return
  end
  local suffix = 'r:' .. item.record
  local stored = get(shard, suffix)
  local record = stored and decode(stored)
  if item.give then
    -- One whose sale has waited in vain took back its money when it came; more there is not.
    if record and not record.waiting then
      release_return(shard, op, item, record)
    end
    return
  elseif not record then
    return
  end
  local own = {id = op.id .. '/' .. item.record, seller = op.seller}
  local entry = new_entry(shard, own, 'earning.released', record.currency)
  record.waiting = nil
  if record.forfeited then
    -- A label said that the sale is a fraud: it counts nowhere, and nobody earns by it.
    store(shard, entry, suffix, record)
    entry.extra.released = '"' .. item.record .. '"'
    commit(shard, entry)
    return
  end
  record.up = release.up
  if record.up and record.verdict == 'cleared' then
    record.up.held = nil
  end
  if record.tier == 'instant' then
    set_free(entry, shard, item.record, record, release)
  end
  take_effect(shard, entry, record, release.counts, item.returned)
  reverse_each(entry, record, item.back)
  if record.returned > item.returned then
    record.shown = item.returned
  end
  store(shard, entry, suffix, record)
  entry.extra.released = '"' .. item.record .. '"'
  if release.pay and record.tier == 'instant' then
    reserve(entry, shard, release.pay, record.occurred)
  end
  commit(shard, entry)
end

-- op: profile (JSON, without its revision), rev, refusals (list of {rail, reason}: destinations that
-- cannot be paid), release: one {counts, up, pay, reinvest, schedule} for each
-- waiting earning, in their order. Outcomes: booked; retry when the list of the waiting has changed.
function operations.profile(shard, op)
  local waiting = call('LRANGE', shard.prefix .. 'q:' .. op.seller, 0, -1)
  if #waiting ~= #op.release then
    return 'retry'
  end
  local entry = new_entry(shard, op, 'seller.updated', 'XXX')
  write(entry, 'SET', 'p:' .. op.seller, int(op.rev + 1) .. '|' .. op.profile)
  for _, one in ipairs(op.refusals or {}) do
    publish(entry, 'payouts.updates', op.seller, refusal(entry, one[1], one[2], shard))
  end
  if #waiting > 0 then
    write(entry, 'DEL', 'q:' .. op.seller)
    count_by(entry, shard, 'waiting', -#waiting)
    write(entry, 'ZREM', 't', 'wait:' .. op.seller)
  end
  shard.revisions[op.seller] = op.rev + 1
  commit(shard, entry)
  for i, item in ipairs(waiting) do
    settle_waiting(shard, op, decode(item), op.release[i])
  end
  return 'booked'
end

-- An event that changes nothing but must not be taken again, such as an outdated profile.
-- Outcomes: booked.
function operations.skip(shard, op)
  commit(shard, new_entry(shard, op, op.kind .. '.outdated', 'XXX'))
  return 'booked'
end

-- The wait is over. op: timer, due. Waiting earnings stay held, for review; early returns become
-- dead letters. Outcomes: booked; ignored.
function operations.lapse(shard, op)
  local due = call('ZSCORE', shard.prefix .. 't', op.timer)
  if not due or tonumber(due) ~= op.due then
    return 'ignored:gone'
  end
  local kind, rest = op.timer:match('^(%w+):(.*)$')
  if kind == 'wait' then
    op.seller = rest
    local entry = new_entry(shard, op, 'earning.lapsed', 'XXX')
    write(entry, 'ZREM', 't', op.timer)
    local length = call('LLEN', shard.prefix .. 'q:' .. rest)
    entry.extra.lapsed = int(length)
    write(entry, 'DEL', 'q:' .. rest)
    count_by(entry, shard, 'waiting', -length)
    commit(shard, entry)
    return 'booked'
  end
  local stored = get(shard, 'r:' .. rest)
  local early = stored and decode(stored).early or {}
  op.seller = early[1] and early[1].seller or ''
  local entry = new_entry(shard, op, 'return.lapsed', 'XXX')
  write(entry, 'ZREM', 't', op.timer)
  if #early > 0 then
    write(entry, 'DEL', 'r:' .. rest)
    count_by(entry, shard, 'parked', -#early)
  end
  for _, parked in ipairs(early) do
    publish(entry, 'dead-letters', op.seller, parked.raw, parked.headers)
  end
  entry.extra.lapsed = int(#early)
  commit(shard, entry)
  return 'booked'
end
