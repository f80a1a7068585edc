-- debts: a page of who owes what, and since when. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] where the walk is, "0" at its beginning, ARGV[2] about how many to look at.
-- Returns {where the walk goes on, "0" at its end, {"<currency>:<seller>", "<day>,<minor>|…", …}}. A debt
-- that was there all the time is in one page at least.
-- Error UNHEALED: the shard may have lost it.
local function debts(keys, args)
  enter()
  local prefix, at = keys[1]:sub(1, -2), standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  return call('HSCAN', prefix .. 'D', args[1], 'COUNT', args[2])
end

redis.register_function{function_name = FUNCTION('debts'), callback = debts, flags = {'no-writes'}}
