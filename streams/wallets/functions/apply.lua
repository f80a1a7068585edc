-- apply: redo journal entries that this shard has not seen. This is how Redis is rebuilt.
-- KEYS[1] "{s<n>}:m". ARGV[1] nonce of the healer, ARGV[2] retention of ids in ms, ARGV[3] ledger offset
-- from which on everything later is, ARGV[4] the epoch that the ledger is in there, ARGV[5…] journal
-- entries, in order.
-- Returns {seq, how many were applied}. Entries at or below the shard's seq are passed over.
-- Error SUPERSEDED: somebody else heals the shard. Error GAP: an entry is missing between the shard's
-- seq and the next entry.
-- An entry says what things are behind it, not by how much they change, so that redoing entries over a
-- later state (a snapshot that was read while the shard was booked to) ends where the entries do.

-- Balances and fences behind all entries of a call are gathered and written once.
local function gather(key, field, value, into)
  local fields = into[key]
  if not fields then
    fields = {}
    into[key] = fields
  end
  fields[field] = value
end

local function redo(prefix, meta, entry, retention, balances, fences)
  for _, posting in ipairs(entry.postings) do
    local owner, account = posting[1]:match('^([^/]*)/(.*)$')
    if owner == '' then
      gather(prefix .. 'h', account .. ':' .. posting[2], posting[4], balances)
    else
      -- book() writes all accounts of a wallet at once; so does this, to leave equal keys.
      local wallet, field = prefix .. 'w:' .. owner, posting[2] .. ':'
      if not balances[wallet] or not balances[wallet][field .. account] then
        for _, name in ipairs(ACCOUNTS) do
          call('HSETNX', wallet, field .. name, '0')
        end
      end
      gather(wallet, field .. account, posting[4], balances)
    end
  end
  for _, command in ipairs(entry.writes) do
    local key = prefix .. command[2]
    if command[1] ~= 'RPUSH' or not call('LPOS', key, command[3]) then
      call(command[1], key, unpack(command, 3))
    end
  end
  if entry.source then
    -- That of a request, which has no source, is among its writes, with the answer.
    if entry.hash then
      call('SET', prefix .. 'd:' .. entry.id, entry.hash, 'PXAT', int(entry.at + retention))
    end
    local fence = 'f:' .. entry.source[1] .. ':' .. int(entry.source[2])
    fences[fence] = fences[fence] or tonumber(call('HGET', meta, fence) or -1)
    if entry.source[3] > fences[fence] then
      fences[fence] = entry.source[3]
    end
  end
end

local function write_gathered(meta, balances, fences)
  for key, fields in pairs(balances) do
    for field, value in pairs(fields) do
      call('HSET', key, field, int(value))
    end
  end
  for fence, offset in pairs(fences) do
    call('HSET', meta, fence, int(offset))
  end
end

local function apply(keys, args)
  enter()
  local prefix, meta = keys[1]:sub(1, -2), keys[1]
  if call('HGET', meta, 'pending') ~= args[1] then
    return redis.error_reply('SUPERSEDED ' .. meta)
  end
  local seq = tonumber(call('HGET', meta, 'seq') or 0)
  local entries = {}
  for i = 5, #args do
    local entry = decode(args[i])
    local last = entries[#entries] and entries[#entries].seq or seq
    if entry.seq > last + 1 then
      return redis.error_reply('GAP ' .. meta .. ' is at ' .. int(last) .. ', the next entry is '
        .. int(entry.seq))
    elseif entry.seq == last + 1 then
      entries[#entries + 1] = entry
    end
  end
  local balances, fences = {}, {}
  for _, entry in ipairs(entries) do
    redo(prefix, meta, entry, tonumber(args[2]), balances, fences)
    seq = entry.seq
  end
  write_gathered(meta, balances, fences)
  call('HSET', meta, 'seq', int(seq), 'journal', args[3], 'journaled', int(seq),
    'epoch', args[4])
  return {int(seq), #entries}
end

redis.register_function{function_name = FUNCTION('apply'), callback = apply}
