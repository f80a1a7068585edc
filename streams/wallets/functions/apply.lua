-- apply: redo journal entries that this shard has not seen. This is how Redis is rebuilt.
-- KEYS[1] "{s<n>}:m". ARGV[1] retention of ids in ms, ARGV[2] ledger offset behind the last entry,
-- ARGV[3…] journal entries, in order.
-- Returns {seq, how many were applied}. Entries at or below the shard's seq are passed over.
-- Error GAP: an entry is missing between the shard's seq and the next entry.
local function apply(keys, args)
  enter()
  local prefix, meta = keys[1]:sub(1, -2), keys[1]
  local seq = tonumber(call('HGET', meta, 'seq') or 0)
  local entries = {}
  for i = 3, #args do
    local entry = decode(args[i])
    local last = entries[#entries] and entries[#entries].seq or seq
    if entry.seq > last + 1 then
      return redis.error_reply('GAP ' .. keys[1] .. ' is at ' .. int(last) .. ', the next entry is '
        .. int(entry.seq))
    elseif entry.seq == last + 1 then
      entries[#entries + 1] = entry
    end
  end
  for _, entry in ipairs(entries) do
    for _, posting in ipairs(entry.postings) do
      local owner, account = posting[1]:match('^([^/]*)/(.*)$')
      if owner == '' then
        call('HINCRBY', prefix .. 'h', account .. ':' .. posting[2], int(posting[3]))
      else
        -- book() writes all five accounts of a wallet at once; so does this, to leave equal keys.
        for _, name in ipairs(ACCOUNTS) do
          call('HINCRBY', prefix .. 'w:' .. owner, posting[2] .. ':' .. name,
            name == account and int(posting[3]) or 0)
        end
      end
    end
    for _, command in ipairs(entry.writes) do
      call(command[1], prefix .. command[2], unpack(command, 3))
    end
    if entry.hash then
      call('SET', prefix .. 'd:' .. entry.id, entry.hash, 'PXAT',
        int(entry.at + tonumber(args[1])))
      local fence = 'f:' .. entry.source[1] .. ':' .. int(entry.source[2])
      local offset = tonumber(call('HGET', meta, fence) or -1)
      if entry.source[3] > offset then
        call('HSET', meta, fence, int(entry.source[3]))
      end
    end
    seq = entry.seq
  end
  call('HSET', meta, 'seq', int(seq), 'journal', args[2])
  return {int(seq), #entries}
end

redis.register_function{function_name = FUNCTION('apply'), callback = apply}
