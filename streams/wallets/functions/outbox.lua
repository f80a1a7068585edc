-- outbox: what may not have been published yet. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] first seq wanted, ARGV[2] most entries to return.
-- Returns {{seq, {field, value, …}}, …} as book() does.
local function outbox(keys, args)
  enter()
  local found = {}
  local entries = call('XRANGE', keys[1]:sub(1, -2) .. 'o', args[1] .. '-0', '+', 'COUNT', args[2])
  for i, entry in ipairs(entries) do
    found[i] = {entry[1]:match('^%d+'), entry[2]}
  end
  return found
end

redis.register_function{function_name = FUNCTION('outbox'), callback = outbox, flags = {'no-writes'}}
