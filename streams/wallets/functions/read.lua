-- read: what one seller has. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] seller.
-- Returns {{"<currency>:<account>", minor, …}, {lot id, lot, …}, "<revision>|<profile JSON>" or false, how many
-- of her events wait for the profile, {earning, what is pending of it, …}, {discount id, discount, …}}.
-- Error UNHEALED: the shard may have lost it.
local function read(keys, args)
  enter()
  local prefix, at = keys[1]:sub(1, -2), standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  return {call('HGETALL', prefix .. 'w:' .. args[1]), call('HGETALL', prefix .. 'l:' .. args[1]),
    call('GET', prefix .. 'p:' .. args[1]), call('LLEN', prefix .. 'q:' .. args[1]),
    call('HGETALL', prefix .. 'L:' .. args[1]), call('HGETALL', prefix .. 'g:' .. args[1])}
end

redis.register_function{function_name = FUNCTION('read'), callback = read, flags = {'no-writes'}}
