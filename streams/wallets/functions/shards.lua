-- shards: fix the number of shards at the first start, and tell it ever after.
-- KEYS[1] "{s0}:m". ARGV[1] the number of shards that the caller works with. Returns the number fixed.
local function shards(keys, args)
  enter()
  call('HSETNX', keys[1], 'shards', args[1])
  return tonumber(call('HGET', keys[1], 'shards'))
end

redis.register_function{function_name = FUNCTION('shards'), callback = shards}
