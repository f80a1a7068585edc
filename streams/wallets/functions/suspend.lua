-- suspend: stop all booking to the shard, to compare it with the ledger.
-- KEYS[1] "{s<n>}:m". ARGV[1] nonce of the healer, ARGV[2] the nonce it takes the work over from, or "".
-- Returns {1 if it is suspended for the caller, seq, epoch, journal, journaled}; {0} if another healer
-- is at it.
-- A sound shard may be suspended too: what is not published of it stands in its outbox.
local function suspend(keys, args)
  enter()
  local at = standing(keys[1])
  if at.pending and at.pending ~= args[1] and at.pending ~= args[2] then
    return {0}
  end
  call('HSET', keys[1], 'pending', args[1])
  call('HDEL', keys[1], 'beat')
  local read = call('HMGET', keys[1], 'journal', 'journaled')
  return {1, at.seq, at.epoch, tonumber(read[1] or 0), tonumber(read[2] or 0)}
end

redis.register_function{function_name = FUNCTION('suspend'), callback = suspend}
