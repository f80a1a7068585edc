-- ages: a page of the payouts that are under way. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] where the walk is, "0" at its beginning, ARGV[2] about how many timers to
-- look at.
-- Returns {where the walk goes on, "0" at its end, {state, since, rail, …}}: since when it has been
-- reserved, or at the rail if it was submitted, in ms. A payout that was there all the time is in one page at
-- least.
-- Error UNHEALED: the shard may have lost them.
--
-- Every payout under way has a timer, so the walk goes by these and not by the far more that have ended.
-- The time of the last change would say too little: each answer that brings no news is one.
local function ages(keys, args)
  enter()
  local prefix, at = keys[1]:sub(1, -2), standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  local page = call('ZSCAN', prefix .. 'e', args[1], 'COUNT', args[2])
  local found = {}
  for i = 1, #page[2], 2 do
    local stored = call('GET', prefix .. 'y:' .. page[2][i])
    local payout = stored and decode(stored)
    if payout and not TERMINAL[payout.state] then
      found[#found + 1] = payout.state
      found[#found + 1] = int(payout.submitted_ms or payout.reserved_ms)
      found[#found + 1] = payout.rail
    end
  end
  return {page[1], found}
end

redis.register_function{function_name = FUNCTION('ages'), callback = ages, flags = {'no-writes'}}
