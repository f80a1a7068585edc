-- Debt: written off by somebody who answers for it, and how old it is.

-- op: currency, amount, by (who), reason. Outcomes: booked; refused write_off_exceeds_debt.
function operations.write_off(shard, op)
  local entry = new_entry(shard, op, op.kind, op.currency)
  if op.amount > -entry.draft.debt then
    return 'refused:write_off_exceeds_debt'
  end
  move(entry, '/writeoff', 'debt', op.amount)
  entry.extra.written_off = encode({op.by, op.reason})
  commit(shard, entry)
  return 'booked'
end
