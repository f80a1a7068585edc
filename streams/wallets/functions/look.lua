-- look: read what decisions need. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] JSON {sellers: […], states: [entity, …], waiting: true or nil}.
-- Returns {{"<revision>|<profile JSON>" or false, …}, {state or false, …}, {{waiting JSON, …}, …}}.
local function look(keys, args)
  enter()
  local prefix = keys[1]:sub(1, -2)
  local ask = decode(args[1])
  local function read_all(names, kind)
    local wanted, found = {}, {}
    for i, name in ipairs(names) do
      wanted[i] = prefix .. kind .. name
    end
    for first = 1, #wanted, 1000 do
      local values = call('MGET', unpack(wanted, first, math.min(first + 999, #wanted)))
      for i = 1, #values do
        found[first + i - 1] = values[i]
      end
    end
    return found
  end
  local waiting = {}
  if ask.waiting then
    for i, seller in ipairs(ask.sellers) do
      waiting[i] = call('LRANGE', prefix .. 'q:' .. seller, 0, -1)
    end
  end
  return {read_all(ask.sellers, 'p:'), read_all(ask.states, 'x:'), waiting}
end

redis.register_function{function_name = FUNCTION('look'), callback = look, flags = {'no-writes'}}
