-- enqueue: keep notices to the company until they are delivered. They are no money: neither snapshot
-- nor journal has them, and no operation looks at them.
-- KEYS[1] "{s<n>}:m". ARGV[1] now in ms, ARGV[2] most that the shard may keep, then id, text, id, text, …
-- Returns for each 1 if it is kept, also from an earlier call, or 0 if the shard keeps too many.
--
-- Their keys lie in the shard's slot, and not under its prefix:
--   notices{s17}:due       zset  id by when it is to be sent, in ms
--   notices{s17}:since     zset  id by when it came, in ms
--   notices{s17}:text      hash  id = what is to be sent
local function notice_keys(meta_key)
  local prefix = 'notices' .. meta_key:sub(1, -2)
  return prefix .. 'due', prefix .. 'since', prefix .. 'text'
end

local function enqueue(keys, args)
  enter()
  local due, since, text = notice_keys(keys[1])
  local count, kept = call('ZCARD', due), {}
  for i = 3, #args, 2 do
    if call('ZSCORE', due, args[i]) then
      kept[#kept + 1] = 1
    elseif count < tonumber(args[2]) then
      call('ZADD', due, args[1], args[i])
      call('ZADD', since, args[1], args[i])
      call('HSET', text, args[i], args[i + 1])
      count = count + 1
      kept[#kept + 1] = 1
    else
      kept[#kept + 1] = 0
    end
  end
  return kept
end

redis.register_function{function_name = FUNCTION('enqueue'), callback = enqueue}
