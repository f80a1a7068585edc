-- due: what the shard has to do by now, and how it stands. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] now in ms, ARGV[2] most timers to return, ARGV[3] of which key: "t" those
-- that lead to a booking, "e" those that lead to a rail, ARGV[4] how many of the first to pass over.
-- Returns {seq, {timer, due, stored payout, profile or budget or false, …}, length of the outbox, first
-- id of the outbox or false, events that wait for a profile, returns that wait for their sale, {currency,
-- what is pending of it, …}, earnings of which something is held, since when the first is, in ms, or false}.
-- Error UNHEALED: the shard may have lost its timers.
local function due(keys, args)
  enter()
  local prefix, at = keys[1]:sub(1, -2), standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  local timers = call('ZRANGEBYSCORE', prefix .. args[3], '-inf', args[1], 'WITHSCORES', 'LIMIT',
    args[4], args[2])
  local result = {}
  for i = 1, #timers, 2 do
    local stored = false
    if args[3] == 'e' then
      stored = call('GET', prefix .. 'y:' .. timers[i])
    elseif timers[i]:sub(1, 4) == 'bud:' then
      stored = call('GET', prefix .. 'b:' .. timers[i]:sub(5))
    elseif timers[i]:sub(1, 4) == 'pay:' then
      stored = call('GET', prefix .. 'p:' .. timers[i]:match('^pay:(.*):[^:]*$'))
    elseif timers[i]:sub(1, 4) == 'rel:' then
      stored = call('GET', prefix .. 'p:' .. timers[i]:match('^rel:([^/]*)/'))
    end
    result[#result + 1] = timers[i]
    result[#result + 1] = timers[i + 1]
    result[#result + 1] = stored
  end
  local first = call('XRANGE', prefix .. 'o', '-', '+', 'COUNT', 1)
  local held = call('ZRANGEBYSCORE', prefix .. 'H', '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return {at.seq, result, call('XLEN', prefix .. 'o'),
    first[1] and first[1][1] or false, call('HGET', keys[1], 'waiting') or '0',
    call('HGET', keys[1], 'parked') or '0', call('HGETALL', prefix .. 'L'),
    call('ZCARD', prefix .. 'H'), held[2] or false}
end

redis.register_function{function_name = FUNCTION('due'), callback = due, flags = {'no-writes'}}
