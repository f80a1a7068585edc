-- confirm: entries are in the ledger. They leave the outbox, and the caller learns what they are worth.
-- KEYS[1] "{s<n>}:m". ARGV[1] epoch the entries were booked in, ARGV[2] the shard's seq behind them,
-- ARGV[3] a ledger offset that the broker has acknowledged, ARGV[4…] seqs of the entries.
-- Returns one word.
--   safe     all entries up to that seq are in the ledger and count for ever
--   waits    so far so good, but one in front of them is not known to be in the ledger
--   void     the shard was healed without them: their events have to be taken again
--   unhealed nobody can say yet: the shard has to be healed first
local function worth_before(meta, epoch, upto)
  for found, seq in (call('HGET', meta, 'ended') or ''):gmatch('(%d+):(%d+)') do
    if tonumber(found) == epoch then
      return upto <= tonumber(seq) and 'safe' or 'void'
    end
  end
end

local function confirm(keys, args)
  enter()
  local meta, outbox = keys[1], keys[1]:sub(1, -2) .. 'o'
  local at, epoch, upto = standing(meta), tonumber(args[1]), tonumber(args[2])
  if not at.sound or at.epoch < epoch or (at.epoch == epoch and at.seq < upto) then
    return 'unhealed'
  elseif at.epoch ~= epoch then
    -- If nobody knows any more: to take the events again does no harm.
    return worth_before(meta, epoch, upto) or 'void'
  end
  for i = 4, #args do
    call('XDEL', outbox, args[i] .. '-0')
  end
  local first = call('XRANGE', outbox, '-', '+', 'COUNT', 1)[1]
  if first then
    return tonumber(first[1]:match('^%d+')) <= upto and 'waits' or 'safe'
  end
  -- All there is of the shard is in the ledger, so what comes later is behind what is there now.
  if tonumber(args[3]) > tonumber(call('HGET', meta, 'journal') or 0) then
    call('HSET', meta, 'journal', args[3], 'journaled', int(at.seq))
  end
  return 'safe'
end

redis.register_function{function_name = FUNCTION('confirm'), callback = confirm}

-- counts: what an entry is worth from which something follows. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] epoch the entry was booked in, ARGV[2] its seq. Returns one word, as confirm
-- does; forgotten: that epoch is over for so long that nobody knows.
local function counts(keys, args)
  enter()
  local meta, at = keys[1], standing(keys[1])
  local epoch, seq = tonumber(args[1]), tonumber(args[2])
  if not at.sound or at.epoch < epoch or (at.epoch == epoch and at.seq < seq) then
    return 'unhealed'
  elseif at.epoch ~= epoch then
    return worth_before(meta, epoch, seq) or 'forgotten'
  end
  local first = call('XRANGE', meta:sub(1, -2) .. 'o', '-', '+', 'COUNT', 1)[1]
  return first and tonumber(first[1]:match('^%d+')) <= seq and 'waits' or 'safe'
end

redis.register_function{function_name = FUNCTION('counts'), callback = counts, flags = {'no-writes'}}
