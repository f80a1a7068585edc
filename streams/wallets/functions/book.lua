-- book: apply a batch of operations to one shard, atomically.
-- KEYS[1] "{s<n>}:m". ARGV[1] context JSON: now (ms), known (the highest seq the caller has seen), epoch
-- (the one the caller takes the shard to be in), front (of the entries in front, how many are returned; if
-- there are more, or without it, none). ARGV[2] operations, a JSON list; each has op, id,
-- seller; from an event also kind, hash, topic, partition, offset; from a request that came over no topic
-- kind and hash; if it was decided upon a profile also rev.
-- ARGV[3] terms JSON, which seldom change: retention_ms, wait_ms, ask_ms, debt_bp (of an earning, to pay
-- debt with), spent_is_debt (whether spent credit of an undone grant is), campaigns (list of {id, metric,
-- expires_ms, steps {currency → {{tier, threshold, credit, percent bp, cap}}}}); without it the context
-- carries them.
-- Returns {seq, {outcome of each}, {{seq, {field, value, …}}, …}, {…}}: outbox entries made by this call,
-- and those in front of them.
-- Outcomes: booked, of a request booked:<JSON of when, and what its seller's accounts are at behind it>;
-- parked, repeat (same id, same body), of a request repeat:<outcome>; stale (offset already applied),
-- ignored:<why>, refused:<reason> (of its own id_reused and balance_too_large; the others stand at the
-- operations), retry (the profile moved: look again; nothing after it is applied), error:<what> (a bug;
-- nothing of it is applied, nor after it).
-- Error UNHEALED: the shard is not what the caller takes it for; nothing was done, heal it first.

local terms_text, terms

-- The terms, decoded when their text is another than in the call before.
local function terms_of(text)
  if text ~= terms_text then
    terms, terms_text = decode(text), text
  end
  return terms
end

local function fence_of(shard, op)
  local name = 'f:' .. op.topic .. ':' .. int(op.partition)
  if not shard.fences[name] then
    shard.fences[name] = tonumber(call('HGET', shard.meta, name) or -1)
  end
  return name
end

local function revision_of(shard, seller)
  local revision = shard.revisions[seller]
  if not revision then
    local stored = get(shard, 'p:' .. seller)
    revision = stored and tonumber(stored:match('^(%d+)|')) or 0
    shard.revisions[seller] = revision
  end
  return revision
end

local function refusal_key(op)
  return 'u:' .. op.topic .. ':' .. int(op.partition) .. ':' .. int(op.offset)
end

-- A refusal is journalled: it raises the fence, and its dead letter may not be published yet; or its
-- request may come again.
local function note_refusal(shard, op, reason)
  local entry = new_entry(shard, op, op.topic and 'event.refused' or 'request.refused', 'XXX')
  entry.refused = reason
  if op.topic then
    write(entry, 'SET', refusal_key(op), reason, 'PXAT', forget_at(shard))
  end
  commit(shard, entry)
end

local function attempt(shard, op)
  if op.hash then
    local seen = get(shard, 'd:' .. op.id)
    if seen then
      local hash, outcome = seen:match('^(%x+)|(.*)$')
      if (hash or seen) ~= op.hash then
        return 'refused:id_reused'
      end
      return outcome and 'repeat:' .. outcome or 'repeat'
    end
  end
  if op.rev and revision_of(shard, op.seller) ~= op.rev then
    return 'retry'
  end
  local fine, outcome = pcall(operations[op.op], shard, op)
  if fine then
    return outcome
  elseif tostring(outcome):find('TOO_LARGE', 1, true) then
    return 'refused:balance_too_large'
  end
  error(outcome, 0)
end

-- A request that came over no topic: what it is answered with.
local function answer(shard, op)
  local outcome = attempt(shard, op)
  if outcome:sub(1, 8) == 'refused:' and outcome ~= 'refused:id_reused' then
    note_refusal(shard, op, outcome:sub(9))
  end
  return outcome == 'booked' and op.answer or outcome
end

local function apply_one(shard, op)
  if not op.topic then
    return op.hash and answer(shard, op) or attempt(shard, op)
  end
  local fence = fence_of(shard, op)
  if op.offset <= shard.fences[fence] then
    local reason = get(shard, refusal_key(op))
    return reason and 'refused:' .. reason or 'stale'
  end
  local outcome = attempt(shard, op)
  if outcome ~= 'retry' then
    shard.fences[fence] = op.offset
    if outcome:sub(1, 8) == 'refused:' then
      note_refusal(shard, op, outcome:sub(9))
    end
  end
  return outcome
end

-- What others may not have published yet, unless it is too much.
local function in_front(shard, most)
  local found = leftovers(shard.prefix, '-', most + 1)
  return #found <= most and found or {}
end

local function book(keys, args)
  enter()
  local context = decode(args[1])
  local at = standing(keys[1])
  if not at.sound or at.epoch ~= context.epoch or at.seq < context.known then
    return unhealed(keys[1], at)
  end
  local shard = open_shard(keys[1], at, context.now, args[3] and terms_of(args[3]) or context)
  shard.revisions = {}
  local outcomes, stopped = {}, false
  for i, op in ipairs(decode(args[2])) do
    local outcome = 'retry'
    if not stopped then
      local before = #shard.outbox
      local fine, result = pcall(apply_one, shard, op)
      join(shard, before)
      -- An operation that raised has written nothing; what went before it stands.
      outcome = fine and result or 'error:' .. tostring(type(result) == 'table' and result.err or result)
      stopped = outcome == 'retry' or not fine
    end
    outcomes[i] = outcome
  end
  local front = context.front and in_front(shard, context.front) or {}
  close_shard(shard)
  return {int(shard.seq), outcomes, shard.outbox, front}
end

redis.register_function{function_name = FUNCTION('book'), callback = book}
