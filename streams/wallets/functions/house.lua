-- house: what the house's accounts are at in this shard. Changes nothing.
-- KEYS[1] "{s<n>}:m".
-- Returns {"<account>:<currency>", minor units, …}: the shard's share of each account.
-- Error UNHEALED: the shard may have lost them.
local function house(keys)
  enter()
  local prefix, at = keys[1]:sub(1, -2), standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  return call('HGETALL', prefix .. 'h')
end

redis.register_function{function_name = FUNCTION('house'), callback = house, flags = {'no-writes'}}
