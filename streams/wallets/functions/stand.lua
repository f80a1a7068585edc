-- stand: how the shard stands. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] the highest seq the caller has seen and ARGV[2] in which epoch, 0 if it
-- knows nothing.
-- Returns {sound (1 or 0), seq, epoch, journal, journaled, pending or false, beat}. Not sound: it has to be
-- compared with the ledger before anything is booked (another server process, lost writes), or somebody
-- is about to; beat counts what that one has restored.
local function stand(keys, args)
  enter()
  local at = standing(keys[1])
  local read = call('HMGET', keys[1], 'journal', 'journaled', 'beat')
  local seq, epoch = tonumber(args[1]), tonumber(args[2])
  local behind = at.epoch < epoch or (at.epoch == epoch and at.seq < seq)
  return {at.sound and not behind and 1 or 0, at.seq, at.epoch,
    tonumber(read[1] or 0), tonumber(read[2] or 0), at.pending or false,
    tonumber(read[3] or 0)}
end

redis.register_function{function_name = FUNCTION('stand'), callback = stand, flags = {'no-writes'}}
