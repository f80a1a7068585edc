-- resume: take a shard to be where its snapshot began; what came later is redone from there.
-- KEYS[1] "{s<n>}:m". ARGV[1] nonce of the healer, ARGV[2] how many calls of restore() there were, then
-- field, value, … of the shard's own state. Returns {seq, epoch, journal, journaled} as they are then.
-- Error SUPERSEDED: somebody else heals the shard, or Redis has lost one of those calls.
local function resume(keys, args)
  enter()
  local held = call('HMGET', keys[1], 'pending', 'beat')
  if held[1] ~= args[1] or (held[2] or '0') ~= args[2] then
    return redis.error_reply('SUPERSEDED ' .. keys[1])
  end
  call('HSET', keys[1], unpack(args, 3))
  local at = call('HMGET', keys[1], 'seq', 'epoch', 'journal', 'journaled')
  return {tonumber(at[1] or 0), tonumber(at[2] or 0), tonumber(at[3] or 0), tonumber(at[4] or 0)}
end

redis.register_function{function_name = FUNCTION('resume'), callback = resume}
