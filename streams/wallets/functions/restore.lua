-- restore: put keys of a snapshot into a shard that is being healed.
-- KEYS[1] "{s<n>}:m". ARGV[1] nonce of the healer, ARGV[2] how many such calls there were since the shard
-- was suspended, then key without its prefix, time it expires at (ms since the epoch, 0 for never) and
-- value as DUMP gave it, key, time, …. Returns how many keys.
-- Error SUPERSEDED: somebody else heals the shard, or Redis has lost one of those calls.
local function restore(keys, args)
  enter()
  local prefix, meta = keys[1]:sub(1, -2), keys[1]
  if call('HGET', meta, 'pending') ~= args[1] or (call('HGET', meta, 'beat') or '0') ~= args[2] then
    return redis.error_reply('SUPERSEDED ' .. meta)
  end
  -- Whoever waits for this healer sees that it is alive.
  call('HINCRBY', meta, 'beat', '1')
  for i = 3, #args, 3 do
    call('RESTORE', prefix .. args[i], args[i + 1], args[i + 2], 'REPLACE', 'ABSTTL')
  end
  return (#args - 2) / 3
end

redis.register_function{function_name = FUNCTION('restore'), callback = restore}
