-- claim: take notices that are due, so that no other worker sends them meanwhile.
-- KEYS[1] "{s<n>}:m". ARGV[1] now in ms, ARGV[2] until when they are claimed, ARGV[3] how many at most.
-- Returns {how many the shard keeps, when the oldest of them came in ms or 0, {id, text, …}}, the longest
-- due in front. One that is not concluded by then is due again.
local function claim(keys, args)
  enter()
  local due, since, text = notice_keys(keys[1])
  local claimed = {}
  if tonumber(args[3]) > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', due, '-inf', args[1], 'LIMIT', 0, args[3])) do
      call('ZADD', due, args[2], id)
      claimed[#claimed + 1] = id
      claimed[#claimed + 1] = call('HGET', text, id) or ''
    end
  end
  local oldest = call('ZRANGE', since, 0, 0, 'WITHSCORES')
  return {call('ZCARD', due), oldest[2] and int(tonumber(oldest[2])) or '0', claimed}
end

redis.register_function{function_name = FUNCTION('claim'), callback = claim}
