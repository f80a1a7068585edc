-- The part of Redis that the wallets' functions use, on Lua tables: data types, replies and errors
-- as a real one gives them, cjson with Redis's settings, and a clock that the caller sets.
--
-- Every write is kept in a log as well (an append-only file), call by call: rewind() replays less of
-- it than there is, which is what a crash without fsync or a promoted replica does to acknowledged
-- writes. Returns a table of functions for memory.py.

local sha1hex = ...
local byte, char, find, format, gsub, match, sub, upper = string.byte, string.char, string.find,
  string.format, string.gsub, string.match, string.sub, string.upper
local concat, floor = table.concat, math.floor

local data, expires = {}, {}       -- key -> {kind, value, …}; key -> when it is gone, in ms
local log, marks = {}, {}          -- write commands; how long the log was behind each call
local now, read_only, run_id, oom = 0, false, '', false
local functions, env = {}, nil     -- name -> {callback, no_writes}; the library's globals

-- Errors leave redis.call as a table with the text under `err`, as since Redis 7.
local function fail(text)
  error({err = text}, 0)
end

-- cjson -------------------------------------------------------------------------------------------

local null = {}
local ESCAPES = {['"'] = '\\"', ['\\'] = '\\\\', ['/'] = '\\/', ['\b'] = '\\b', ['\f'] = '\\f',
  ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t', ['\127'] = '\\u007f'}
for code = 0, 31 do
  ESCAPES[char(code)] = ESCAPES[char(code)] or format('\\u%04x', code)
end

-- Whether a table is written as an array, and how long it is.
local function length_of(value)
  local count, most = 0, 0
  for key in pairs(value) do
    if type(key) ~= 'number' or key < 1 or key ~= floor(key) then
      return nil
    end
    count = count + 1
    most = key > most and key or most
  end
  if most > 10 and most > count * 2 then
    error('Cannot serialise table: excessively sparse array', 0)
  end
  return count > 0 and most or nil
end

-- Names of fields as they are written: the same ones all the time.
local NAMES = setmetatable({}, {
  __index = function(names, key)
    local written = '"' .. gsub(tostring(key), '[%c"\\/\127]', ESCAPES) .. '":'
    names[key] = written
    return written
  end,
})

local encode_value
local function encode_object(value, out)
  out[#out + 1] = '{'
  local first = true
  for key, item in pairs(value) do
    if not first then
      out[#out + 1] = ','
    end
    first = false
    out[#out + 1] = NAMES[key]
    encode_value(item, out)
  end
  out[#out + 1] = '}'
end

function encode_value(value, out)
  local kind = type(value)
  if kind == 'string' then
    if find(value, '[%c"\\/\127]') then
      value = gsub(value, '[%c"\\/\127]', ESCAPES)
    end
    out[#out + 1] = '"' .. value .. '"'
  elseif kind == 'number' then
    if value ~= value or value == 1 / 0 or value == -1 / 0 then
      error('Cannot serialise number: must not be NaN or Inf', 0)
    end
    out[#out + 1] = format('%.14g', value)
  elseif kind == 'boolean' then
    out[#out + 1] = value and 'true' or 'false'
  elseif value == null or value == nil then
    out[#out + 1] = 'null'
  elseif kind == 'table' then
    local length = length_of(value)
    if not length then
      return encode_object(value, out)
    end
    out[#out + 1] = '['
    for i = 1, length do
      if i > 1 then
        out[#out + 1] = ','
      end
      encode_value(value[i], out)
    end
    out[#out + 1] = ']'
  else
    error('Cannot serialise ' .. kind .. ': type not supported', 0)
  end
end

local function encode(value)
  local out = {}
  encode_value(value, out)
  return concat(out)
end

local UNESCAPES = {['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r',
  t = '\t'}

local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xc0 + floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return char(0xe0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xf0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64,
    0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

-- A string with escapes, from behind its opening quote.
local escaped_with_unicode
local function escaped(text, at)
  -- Its end is the first quote without a backslash before it, unless one stands behind two.
  local stop = find(text, '[^\\]"', at - 1)
  if not stop then
    return escaped_with_unicode(text, at)
  end
  local found = sub(text, at, stop)
  if find(found, '\\\\"', 1, true) or find(found, '\\[^"\\/bfnrt]') then
    return escaped_with_unicode(text, at)
  end
  return gsub(found, '\\(.)', UNESCAPES), stop + 2
end

function escaped_with_unicode(text, at)
  local parts = {}
  while true do
    local stop = find(text, '["\\]', at)
    if not stop then
      error('Expected value but found unterminated string', 0)
    end
    parts[#parts + 1] = sub(text, at, stop - 1)
    if byte(text, stop) == 34 then
      return concat(parts), stop + 1
    end
    local letter = sub(text, stop + 1, stop + 1)
    if letter == 'u' then
      local code = tonumber(sub(text, stop + 2, stop + 5), 16)
      at = stop + 6
      if code >= 0xd800 and code < 0xdc00 then
        code = 0x10000 + (code - 0xd800) * 1024 + tonumber(sub(text, at + 2, at + 5), 16) - 0xdc00
        at = at + 6
      end
      parts[#parts + 1] = utf8(code)
    else
      parts[#parts + 1] = UNESCAPES[letter] or error('Expected value but found invalid escape', 0)
      at = stop + 2
    end
  end
end

local WORDS = {t = {'true', true}, f = {'false', false}, n = {'null', null}}

-- Where the next character is that is no white space; mostly at once.
local function behind_space(text, at)
  local code = byte(text, at)
  if code and code > 32 then
    return at
  end
  return find(text, '%S', at) or #text + 1
end

local decode_value
local function decode_string(text, at)
  local found, behind = match(text, '^"([^"\\]*)"()', at)
  if found then
    return found, behind
  end
  return escaped(text, at + 1)
end

local function decode_object(text, at)
  local found = {}
  at = behind_space(text, at)
  if byte(text, at) == 125 then
    return found, at + 1
  end
  while true do
    -- Nearly every key has no escape in it, and its colon at once.
    local key, behind = match(text, '^"([^"\\]*)":()', at)
    if not key then
      if byte(text, at) ~= 34 then
        error('Expected object key string', 0)
      end
      key, behind = decode_string(text, at)
      behind = behind_space(text, behind)
      if byte(text, behind) ~= 58 then
        error('Expected colon', 0)
      end
      behind = behind + 1
    end
    found[key], at = decode_value(text, behind)
    local mark = byte(text, at)
    if mark ~= 44 and mark ~= 125 then
      at = behind_space(text, at)
      mark = byte(text, at)
    end
    if mark == 125 then
      return found, at + 1
    elseif mark ~= 44 then
      error('Expected comma or object end', 0)
    end
    at = at + 1
    if byte(text, at) ~= 34 then
      at = behind_space(text, at)
    end
  end
end

local function decode_array(text, at)
  local found, count = {}, 0
  at = behind_space(text, at)
  if byte(text, at) == 93 then
    return found, at + 1
  end
  while true do
    local value
    value, at = decode_value(text, at)
    count = count + 1
    found[count] = value
    at = behind_space(text, at)
    local mark = byte(text, at)
    if mark == 93 then
      return found, at + 1
    elseif mark ~= 44 then
      error('Expected comma or array end', 0)
    end
    at = at + 1
  end
end

function decode_value(text, at)
  local code = byte(text, at)
  if not code or code <= 32 then
    at = behind_space(text, at)
    code = byte(text, at) or error('Expected value but found T_END', 0)
  end
  if code == 34 then
    return decode_string(text, at)
  elseif code == 123 then
    return decode_object(text, at + 1)
  elseif code == 91 then
    return decode_array(text, at + 1)
  end
  local number, behind = match(text, '^(-?%d[%d.eE+-]*)()', at)
  if number then
    return tonumber(number) or error('Expected value but found invalid number', 0), behind
  end
  local word = WORDS[char(code)]
  if word and sub(text, at, at + #word[1] - 1) == word[1] then
    return word[2], at + #word[1]
  end
  error('Expected value but found invalid token at character ' .. at, 0)
end

local function decode(text)
  local value, at = decode_value(text, 1)
  if find(text, '%S', at) then
    error('Expected the end but found more', 0)
  end
  return value
end

-- Keys --------------------------------------------------------------------------------------------

local function lookup(key, kind)
  local found = data[key]
  if not found then
    return nil
  end
  local at = expires[key]
  if at and at <= now then
    data[key], expires[key] = nil, nil
    return nil
  end
  if kind and found.kind ~= kind then
    fail('WRONGTYPE Operation against a key holding the wrong kind of value')
  end
  return found
end

local function made(key, kind)
  local found = lookup(key, kind)
  if not found then
    found = {kind = kind, value = {}, size = 0}
    data[key] = found
  end
  return found
end

local function integer(text, what)
  local number = tonumber(text)
  if not number or number ~= floor(number) then
    fail('ERR ' .. (what or 'value is not an integer or out of range'))
  end
  return number
end

local function removed(key, found)
  if found.size == 0 then
    data[key], expires[key] = nil, nil
  end
end

-- Remove named parts of a hash or a sorted set, and it with the last; how many there were.
local function remove(key, kind, ...)
  local found, count = lookup(key, kind), 0
  if not found then
    return 0
  end
  for _, name in ipairs({...}) do
    if found.value[name] then
      found.value[name] = nil
      found.size, count = found.size - 1, count + 1
    end
  end
  removed(key, found)
  return count
end

local commands, writes = {}, {}

-- Strings

function commands.GET(key)
  local found = lookup(key, 'string')
  return found and found.value or false
end

function commands.MGET(...)
  local values = {}
  for i, key in ipairs({...}) do
    local found = lookup(key)
    values[i] = found and found.kind == 'string' and found.value or false
  end
  return values
end

function writes.SET(key, value, ...)
  local options, at, only_new = {...}, nil, false
  local i = 1
  while i <= #options do
    local option = upper(options[i])
    if option == 'PXAT' then
      at, i = integer(options[i + 1]), i + 1
    elseif option == 'PX' then
      at, i = now + integer(options[i + 1]), i + 1
      -- As it stands in an append-only file: a replay comes later.
      options[i - 1], options[i] = 'PXAT', format('%.17g', at)
    elseif option == 'NX' then
      only_new = true
    else
      fail('ERR syntax error')
    end
    i = i + 1
  end
  if only_new and lookup(key) then
    return false
  end
  data[key] = {kind = 'string', value = value, size = 1}
  expires[key] = at
  return {ok = 'OK'}, {'SET', key, value, unpack(options)}
end

function writes.DEL(...)
  local count = 0
  for _, key in ipairs({...}) do
    if lookup(key) then
      data[key], expires[key] = nil, nil
      count = count + 1
    end
  end
  return count
end
writes.UNLINK = writes.DEL

-- A dump is a number: what it stands for is kept, as bytes on a disk would be.
local dumps = {}

local function copy(value)
  if type(value) ~= 'table' then
    return value
  end
  local made_ = {}
  for name, each in pairs(value) do
    made_[name] = copy(each)
  end
  return made_
end

function commands.DUMP(key)
  local found = lookup(key)
  if not found then
    return false
  end
  dumps[#dumps + 1] = copy(found)
  return 'dump:' .. #dumps
end

function writes.RESTORE(key, expires_text, value, ...)
  for _, option in ipairs({...}) do
    if option ~= 'REPLACE' and option ~= 'ABSTTL' then
      fail('ERR syntax error')
    end
  end
  local found = dumps[tonumber(match(value, '^dump:(%d+)$'))]
    or fail('ERR DUMP payload version or checksum are wrong')
  data[key] = copy(found)
  expires[key] = nil
  if integer(expires_text) > 0 then
    expires[key] = integer(expires_text)
  end
  return {ok = 'OK'}
end

function writes.INCRBY(key, by)
  local found = lookup(key, 'string')
  local value = integer(found and found.value or '0') + integer(by)
  data[key] = {kind = 'string', value = format('%d', value), size = 1}
  return value
end

function writes.INCR(key)
  return writes.INCRBY(key, '1')
end

function commands.EXISTS(...)
  local count = 0
  for _, key in ipairs({...}) do
    count = count + (lookup(key) and 1 or 0)
  end
  return count
end

function commands.PEXPIRETIME(key)
  return lookup(key) and (expires[key] or -1) or -2
end

function commands.TYPE(key)
  local found = lookup(key)
  return {ok = found and found.kind or 'none'}
end

-- Hashes

function commands.HGET(key, field)
  local found = lookup(key, 'hash')
  return found and found.value[field] or false
end

function commands.HMGET(key, ...)
  local found, values = lookup(key, 'hash'), {}
  local fields = {...}
  for i = 1, #fields do
    values[i] = found and found.value[fields[i]] or false
  end
  return values
end

function commands.HGETALL(key)
  local found, flat = lookup(key, 'hash'), {}
  for field, value in pairs(found and found.value or {}) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  return flat
end

function commands.HLEN(key)
  local found = lookup(key, 'hash')
  return found and found.size or 0
end

function commands.HEXISTS(key, field)
  local found = lookup(key, 'hash')
  return found and found.value[field] and 1 or 0
end

function writes.HSET(key, ...)
  local pairs_, count = {...}, 0
  if #pairs_ == 0 or #pairs_ % 2 == 1 then
    fail("ERR wrong number of arguments for 'hset' command")
  end
  local found = made(key, 'hash')
  for i = 1, #pairs_, 2 do
    if not found.value[pairs_[i]] then
      found.size, count = found.size + 1, count + 1
    end
    found.value[pairs_[i]] = pairs_[i + 1]
  end
  return count
end

function writes.HSETNX(key, field, value)
  local found = lookup(key, 'hash')
  if found and found.value[field] then
    return 0
  end
  return writes.HSET(key, field, value)
end

function writes.HINCRBY(key, field, by)
  local step = integer(by)
  local found = lookup(key, 'hash')
  local value = integer(found and found.value[field] or '0', 'hash value is not an integer') + step
  writes.HSET(key, field, format('%d', value))
  return value
end

function writes.HDEL(key, ...)
  return remove(key, 'hash', ...)
end

-- Lists

function writes.RPUSH(key, ...)
  local found = made(key, 'list')
  for _, value in ipairs({...}) do
    found.size = found.size + 1
    found.value[found.size] = value
  end
  return found.size
end

function commands.LLEN(key)
  local found = lookup(key, 'list')
  return found and found.size or 0
end

function commands.LRANGE(key, first, last)
  local found, values = lookup(key, 'list'), {}
  if not found then
    return values
  end
  first, last = integer(first), integer(last)
  first = first < 0 and math.max(first + found.size, 0) or first
  last = last < 0 and last + found.size or math.min(last, found.size - 1)
  for i = first, last do
    values[#values + 1] = found.value[i + 1]
  end
  return values
end

function commands.LPOS(key, wanted)
  local found = lookup(key, 'list')
  for i = 1, found and found.size or 0 do
    if found.value[i] == wanted then
      return i - 1
    end
  end
  return false
end

-- Sorted sets

local function score_of(text)
  if text == '-inf' or text == '+inf' or text == 'inf' then
    return text == '-inf' and -1 / 0 or 1 / 0
  end
  return tonumber(text) or fail('ERR min or max is not a float')
end

function writes.ZADD(key, ...)
  local args, first, only_new, count = {...}, 1, false, 0
  if upper(args[1]) == 'NX' then
    only_new, first = true, 2
  end
  local found = made(key, 'zset')
  for i = first, #args, 2 do
    local score, member = score_of(args[i]), args[i + 1]
    if not found.value[member] then
      found.size, count = found.size + 1, count + 1
      found.value[member] = score
    elseif not only_new then
      found.value[member] = score
    end
  end
  return count
end

function writes.ZREM(key, ...)
  return remove(key, 'zset', ...)
end

function commands.ZSCORE(key, member)
  local found = lookup(key, 'zset')
  local score = found and found.value[member]
  return score and format('%.17g', score) or false
end

function commands.ZCARD(key)
  local found = lookup(key, 'zset')
  return found and found.size or 0
end

function commands.ZRANGEBYSCORE(key, low, high, ...)
  local options, scores, skip, most = {...}, false, 0, 1 / 0
  local i = 1
  while i <= #options do
    local option = upper(options[i])
    if option == 'WITHSCORES' then
      scores = true
    elseif option == 'LIMIT' then
      skip, most, i = integer(options[i + 1]), integer(options[i + 2]), i + 2
    else
      fail('ERR syntax error')
    end
    i = i + 1
  end
  local found, members, flat = lookup(key, 'zset'), {}, {}
  local least, highest = score_of(low), score_of(high)
  local values = found and found.value or {}
  for member, score in pairs(values) do
    if score >= least and score <= highest then
      members[#members + 1] = member
    end
  end
  table.sort(members, function(a, b)
    if values[a] ~= values[b] then
      return values[a] < values[b]
    end
    return a < b
  end)
  for at = skip + 1, math.min(#members, skip + most) do
    flat[#flat + 1] = members[at]
    if scores then
      flat[#flat + 1] = format('%.17g', values[members[at]])
    end
  end
  return flat
end

-- Streams, with ids "<n>-0" only

local function stream_id(text)
  if text == '-' then
    return -1
  elseif text == '+' then
    return 1 / 0
  end
  return tonumber(match(text, '^(%d+)-0$') or match(text, '^(%d+)$'))
    or fail('ERR Invalid stream ID specified as stream command argument')
end

function writes.XADD(key, id, ...)
  local found = made(key, 'stream')
  local number = stream_id(id)
  if number <= (found.last or 0) then
    fail('ERR The ID specified in XADD is equal or smaller than the target stream top item')
  end
  found.last = number
  found.size = found.size + 1
  found.value[found.size] = {number, {...}}
  return id
end

function writes.XDEL(key, ...)
  local found, count = lookup(key, 'stream'), 0
  if not found then
    return 0
  end
  local gone, kept = {}, {}
  for _, id in ipairs({...}) do
    gone[stream_id(id)] = true
  end
  for i = 1, found.size do
    local entry = found.value[i]
    if gone[entry[1]] then
      count = count + 1
    else
      kept[#kept + 1] = entry
    end
  end
  found.value, found.size = kept, #kept
  return count
end

function commands.XLEN(key)
  local found = lookup(key, 'stream')
  return found and found.size or 0
end

function commands.XRANGE(key, first, last, ...)
  local found, entries = lookup(key, 'stream'), {}
  local least, highest = stream_id(first), stream_id(last)
  local most = select('#', ...) > 0 and integer(select(2, ...)) or 1 / 0
  for i = 1, found and found.size or 0 do
    local number = found.value[i][1]
    if number >= least and number <= highest and #entries < most then
      entries[#entries + 1] = {format('%d-0', number), found.value[i][2]}
    end
  end
  return entries
end

-- The server

function commands.PING()
  return {ok = 'PONG'}
end

function commands.INFO()
  return '# Server\r\nredis_version:7.2.4\r\nrun_id:' .. run_id .. '\r\ntcp_port:6379\r\n'
end

function commands.TIME()
  return {format('%d', floor(now / 1000)), format('%d', now % 1000 * 1000)}
end

local function as_text(value)
  if type(value) == 'number' then
    return format('%.17g', value)
  elseif type(value) ~= 'string' then
    fail('ERR Lua redis lib command arguments must be strings or integers')
  end
  return value
end

local call
function call(name, ...)
  local command = commands[name]
  if command then
    return command(...)
  end
  command = writes[name]
  if not command then
    name = upper(name)
    if commands[name] or writes[name] then
      return call(name, ...)
    end
    fail('ERR unknown command called from script: ' .. name)
  end
  if read_only then
    fail('ERR Write commands are not allowed from read-only scripts.')
  end
  local entry = {name, ...}
  for i = 2, #entry do
    if type(entry[i]) ~= 'string' then
      entry[i] = as_text(entry[i])
    end
  end
  local reply, as_logged = command(unpack(entry, 2))
  log[#log + 1] = as_logged or entry
  return reply
end

-- The library -------------------------------------------------------------------------------------

local redis = {call = call, sha1hex = sha1hex, LOG_WARNING = 3}
function redis.pcall(...)
  local fine, reply = pcall(call, ...)
  return reply
end
function redis.error_reply(text)
  return {err = find(text, '^%u+ ') and text or 'ERR ' .. text}
end
function redis.status_reply(text)
  return {ok = text}
end
function redis.log() end

local function register(first, callback)
  local name, no_writes = first, false
  if type(first) == 'table' then
    name, callback = first.function_name, first.callback
    for _, flag in ipairs(first.flags or {}) do
      no_writes = no_writes or flag == 'no-writes'
    end
  end
  functions[name] = {callback, no_writes}
end

local ALWAYS = {'assert', 'error', 'getmetatable', 'ipairs', 'next', 'pairs', 'pcall', 'rawequal',
  'rawget', 'rawset', 'select', 'setmetatable', 'tonumber', 'tostring', 'type', 'unpack', 'xpcall',
  'table'}

-- Run a library's source anew: its own locals are as after a start of the server. While it is
-- loaded there is nothing but redis.register_function and the language, as on Valkey 9.
local function load(chunk)
  functions = {}
  env = {redis = {register_function = register}}
  for _, name in ipairs(ALWAYS) do
    env[name] = _G[name]
  end
  local guard = {
    __index = function(_, name)
      error('Script attempted to access nonexistent global variable \'' .. tostring(name) .. '\'', 2)
    end,
    __newindex = function()
      error('Attempt to modify a readonly table', 2)
    end,
  }
  setmetatable(env, guard)
  setfenv(chunk, env)
  chunk()
  setmetatable(env, nil)
  env.redis, env.server, env.string, env.math = redis, redis, string, math
  env.cjson = {encode = encode, decode = decode, null = null}
  setmetatable(env, guard)
end

local function compile(source)
  return assert(loadstring((gsub(source, '^#![^\n]*', '')), '@user_function'))
end

local function closed(before)
  if #log > before then
    marks[#marks + 1] = #log
  end
end

local function run(name, only_reads, keys, ...)
  local found = functions[name]
  if not found then
    return {err = 'ERR Function not found'}
  elseif only_reads and not found[2] then
    return {err = 'ERR Can not execute a script with write flag using *_ro command.'}
  elseif oom and not found[2] then
    return {err = "OOM command not allowed when used memory > 'maxmemory'."}
  end
  local args = {...}
  local names = {}
  for i = 1, keys do
    names[i] = table.remove(args, 1)
  end
  local before = #log
  read_only = found[2]
  local fine, reply = pcall(found[1], names, args)
  read_only = false
  closed(before)
  if fine then
    return reply
  end
  return type(reply) == 'table' and reply or {err = 'ERR ' .. tostring(reply)}
end

local function plain(name, ...)
  local before = #log
  local fine, reply = pcall(call, name, ...)
  closed(before)
  if fine then
    return reply
  end
  return type(reply) == 'table' and reply or {err = 'ERR ' .. tostring(reply)}
end

-- Faults ------------------------------------------------------------------------------------------

local function wipe()
  data, expires = {}, {}
end

local function forget()
  wipe()
  log, marks = {}, {}
end

local function rewind(calls)
  local kept = math.max(#marks - calls, 0)
  local last = marks[kept] or 0
  for i = #log, last + 1, -1 do
    log[i] = nil
  end
  for i = #marks, kept + 1, -1 do
    marks[i] = nil
  end
  wipe()
  for i = 1, last do
    writes[log[i][1]](unpack(log[i], 2))
  end
end

local function all_keys()
  local found = {}
  for key in pairs(data) do
    if lookup(key) then
      found[#found + 1] = key
    end
  end
  table.sort(found)
  return found
end

local function set(what, value)
  if what == 'now' then
    now = value
  elseif what == 'run_id' then
    run_id = value
  elseif what == 'oom' then
    oom = value
  end
end

local function calls_made()
  return #marks
end

local function unload()
  functions = {}
end

return {run = run, plain = plain, compile = compile, load = load, unload = unload, rewind = rewind,
  forget = forget, keys = all_keys, set = set, calls = calls_made, encode = encode,
  decode = decode}
