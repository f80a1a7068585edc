-- open: let a shard that equals the ledger be booked to, in a new epoch, on this server process.
-- KEYS[1] "{s<n>}:m". ARGV[1] nonce of the healer, ARGV[2] epoch: the ledger offset behind its marker,
-- ARGV[3] the last seq in front of the marker, ARGV[4] the epochs that ended in what the healer read of
-- the ledger, "<epoch>:<its last seq>,…".
-- Returns seq. The outbox is emptied: what stood in it is in front of the marker.
-- Error SUPERSEDED: somebody else heals the shard. Error APART: the shard is not at that seq.
local ENDED_MAX = 16

local function open(keys, args)
  enter()
  local meta = keys[1]
  local at = standing(meta)
  if at.pending ~= args[1] then
    return redis.error_reply('SUPERSEDED ' .. meta)
  elseif at.seq ~= tonumber(args[3]) then
    return redis.error_reply('APART ' .. meta .. ' is at ' .. int(at.seq) .. ', the ledger at ' .. args[3])
  end
  local ended = {}
  for each in ((call('HGET', meta, 'ended') or '') .. ',' .. args[4]):gmatch('[^,]+') do
    ended[#ended + 1] = each
  end
  local first = #ended > ENDED_MAX and #ended - ENDED_MAX + 1 or 1
  call('HSET', meta, 'epoch', args[2], 'run', run_id(), 'seq', args[3], 'journaled', args[3],
    'journal', args[2], 'ended', concat(ended, ',', first))
  call('HDEL', meta, 'pending', 'beat')
  call('DEL', meta:sub(1, -2) .. 'o')
  return at.seq
end

redis.register_function{function_name = FUNCTION('open'), callback = open}
