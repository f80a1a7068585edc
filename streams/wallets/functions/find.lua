-- find: a payout, an authorisation or a rate as it stands, or whose a reference is. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] kind of key and name: "y:<payout id>", "a:<seller>/<authorisation>" or
-- "i:<rail>:<reference>", "f:<pair>".
-- Returns it (JSON, of a reference the attempt's id) or false.
-- Error UNHEALED: the shard may have lost it.
local function find(keys, args)
  enter()
  local at = standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  return call('GET', keys[1]:sub(1, -2) .. args[1])
end

redis.register_function{function_name = FUNCTION('find'), callback = find, flags = {'no-writes'}}
