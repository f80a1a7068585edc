-- outbox: what may not have been published yet. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] first seq wanted, ARGV[2] most entries to return.
-- Returns {{seq, {field, value, …}}, …} as book() does.
local function outbox(keys, args)
  enter()
  return leftovers(keys[1]:sub(1, -2), args[1] .. '-0', args[2])
end

redis.register_function{function_name = FUNCTION('outbox'), callback = outbox, flags = {'no-writes'}}
