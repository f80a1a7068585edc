-- due: what the shard has to do by now, and how it stands. Changes nothing.
-- KEYS[1] "{s<n>}:m". ARGV[1] now in ms, ARGV[2] most timers to return, ARGV[3…] the kinds wanted.
-- Returns {seq, {timer, due, stored payout, profile or budget or false, …}, length of the outbox, first
-- id of the outbox or false, events that wait for a profile, returns that wait for their sale}.
-- Error UNHEALED: the shard may have lost its timers.
-- Due timers of the kinds wanted: {timer, time, …}. Those of other kinds, which another worker looks
-- after, are passed over, so many at most that a call stays short.
local PASSED_MAX = 20
local function timers_of(prefix, args)
  local wanted, most, found = {}, tonumber(args[2]), {}
  for i = 3, #args do
    wanted[args[i]] = true
  end
  for page = 0, PASSED_MAX - 1 do
    local timers = call('ZRANGEBYSCORE', prefix .. 't', '-inf', args[1], 'WITHSCORES', 'LIMIT',
      int(page * most), args[2])
    for i = 1, #timers, 2 do
      if #found < 2 * most and wanted[timers[i]:match('^%w+')] then
        found[#found + 1] = timers[i]
        found[#found + 1] = timers[i + 1]
      end
    end
    if #timers < 2 * most or #found >= 2 * most then
      break
    end
  end
  return found
end

local function due(keys, args)
  enter()
  local prefix, at = keys[1]:sub(1, -2), standing(keys[1])
  if not at.sound then
    return unhealed(keys[1], at)
  end
  local timers = timers_of(prefix, args)
  local result = {}
  for i = 1, #timers, 2 do
    local kind, rest = timers[i]:match('^(%w+):(.*)$')
    local stored = false
    if kind == 'ask' then
      stored = call('GET', prefix .. 'y:' .. rest)
    elseif kind == 'bud' then
      stored = call('GET', prefix .. 'b:' .. rest)
    elseif kind == 'pay' then
      stored = call('GET', prefix .. 'p:' .. rest:match('^(.*):[^:]*$'))
    end
    result[#result + 1] = timers[i]
    result[#result + 1] = timers[i + 1]
    result[#result + 1] = stored
  end
  local first = call('XRANGE', prefix .. 'o', '-', '+', 'COUNT', 1)
  return {at.seq, result, call('XLEN', prefix .. 'o'),
    first[1] and first[1][1] or false, call('HGET', keys[1], 'waiting') or '0',
    call('HGET', keys[1], 'parked') or '0'}
end

redis.register_function{function_name = FUNCTION('due'), callback = due, flags = {'no-writes'}}
