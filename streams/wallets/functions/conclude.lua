-- conclude: a claimed notice was sent, or is to be sent again.
-- KEYS[1] "{s<n>}:m". ARGV[1] id, ARGV[2] until when it was claimed, ARGV[3] when it is due again in ms,
-- 0 for never, ARGV[4] its text from now on.
-- Returns 1, or 0 if somebody else has claimed or concluded it meanwhile.
local function conclude(keys, args)
  enter()
  local due, since, text = notice_keys(keys[1])
  local score = call('ZSCORE', due, args[1])
  if not score then
    return 0
  elseif args[3] == '0' then
    call('ZREM', due, args[1])
    call('ZREM', since, args[1])
    call('HDEL', text, args[1])
    return 1
  elseif tonumber(score) ~= tonumber(args[2]) then
    return 0
  end
  call('ZADD', due, args[3], args[1])
  call('HSET', text, args[1], args[4])
  return 1
end

redis.register_function{function_name = FUNCTION('conclude'), callback = conclude}
