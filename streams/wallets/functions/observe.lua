-- observe: write feature states of entities that are no sellers (an instrument, a device, a customer).
-- KEYS[1] "{s<n>}:m". ARGV[1] time to live in ms, then entity, state, entity, state, …
-- Returns the number of arguments.
-- They are advice, not money: no fence and no journal; they fade out by themselves.
local function observe(keys, args)
  enter()
  local prefix = keys[1]:sub(1, -2)
  for i = 2, #args, 2 do
    call('SET', prefix .. 'x:' .. args[i], args[i + 1], 'PX', args[1])
  end
  return #args
end

redis.register_function{function_name = FUNCTION('observe'), callback = observe}
