"""The Lua script that a store runs. It exchanges requests in flight, sums, hints and quotas in one round trip.

The store has one hash of sums and one hash per process. The script subtracts a process that has not reported for its
``ttl`` from the sums, and leaves out its hints until it reports again. If one of the keys was lost, the script computes
the sums again from the hashes of the processes.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPT"]

SCRIPT: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local members, sums, hints, own = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, ttl, kept, prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local request = cjson.decode(ARGV[5])

local function add(id, by)
  if by ~= 0 and redis.call('HINCRBY', sums, id, by) == 0 then redis.call('HDEL', sums, id) end
end
local function each(key, visit)
  local row = redis.call('HGETALL', key)
  for i = 1, #row, 2 do
    if row[i] ~= '' then visit(row[i], tonumber(row[i + 1])) end
  end
end
local function withdraw(name)
  each(prefix .. name, function(id, count) add(id, -count) end)
  redis.call('DEL', prefix .. name)
  redis.call('ZREM', members, name)
end

-- If the clock went back, as in a failover, no process is taken for alive beyond its ttl from now.
local ahead = redis.call('ZRANGEBYSCORE', members, now + ttl + 1, '+inf', 'WITHSCORES')
for i = 1, #ahead, 2 do
  local its = tonumber(redis.call('HGET', prefix .. ahead[i], '') or '')
  if its and tonumber(ahead[i + 1]) > now + its + 1 then redis.call('ZADD', members, now + its, ahead[i]) end
end
-- The sums are those of the rows of members. If keys were evicted, deleted or lost, add up again.
local gone = redis.call('ZRANGEBYSCORE', members, '-inf', now)
local whole = redis.call('HEXISTS', sums, '') == 1 and redis.call('ZCARD', members) > 0
if not redis.call('ZSCORE', members, member) then
  redis.call('DEL', own)
elseif redis.call('EXISTS', own) == 0 then
  whole = false
end
for _, name in ipairs(gone) do whole = whole and redis.call('EXISTS', prefix .. name) == 1 end
if not whole then
  redis.call('DEL', sums)
  for _, name in ipairs(redis.call('ZRANGE', members, 0, -1)) do each(prefix .. name, add) end
end
for _, name in ipairs(gone) do withdraw(name) end
if request.leave then
  withdraw(member)
  if redis.call('ZCARD', members) == 0 then redis.call('DEL', sums) end
  return '{}'
end

local old = {}
each(own, function(id, count) old[id] = count end)
redis.call('HSET', own, '', ttl)
redis.call('HSET', sums, '', 0)
for _, pair in ipairs(request.counts) do
  local id, count = pair[1], pair[2]
  if count ~= old[id] then
    add(id, count - (old[id] or 0))
    redis.call('HSET', own, id, count)
  end
  old[id] = nil
end
for id, count in pairs(old) do
  add(id, -count)
  redis.call('HDEL', own, id)
end
redis.call('ZADD', members, now + ttl, member)

redis.call('ZREMRANGEBYSCORE', hints, '-inf', now)
for _, hint in ipairs(request.hints) do
  redis.call('ZADD', hints, now + hint[2], cjson.encode({member, hint[1]}))
end
for i = 1, 4 do redis.call('EXPIRE', KEYS[i], kept) end

local answer = {sums = {}, hints = {}, granted = {}}
for i, pair in ipairs(request.counts) do
  answer.sums[i] = tonumber(redis.call('HGET', sums, pair[1]) or 0)
end
local listed = redis.call('ZRANGE', hints, 0, -1, 'WITHSCORES')
for i = 1, #listed, 2 do
  local hint = cjson.decode(listed[i])
  if redis.call('ZSCORE', members, hint[1]) then
    answer.hints[#answer.hints + 1] = {hint[1], hint[2], tonumber(listed[i + 1]) - now}
  end
end
for i, quota in ipairs(request.quotas) do
  local key, rate, burst, want = prefix .. 'quota:' .. quota[1], quota[2], quota[3], quota[4]
  local row = redis.call('HMGET', key, 'tokens', 'at')
  local at = tonumber(row[2] or now)
  local tokens = math.min(burst, tonumber(row[1] or burst) + math.max(0, now - at) * rate)
  local granted = math.floor(math.min(want, tokens))
  redis.call('HSET', key, 'tokens', tokens - granted, 'at', string.format('%.6f', now))
  redis.call('EXPIRE', key, math.ceil(burst / rate) + 60)
  answer.granted[i] = granted
end
return cjson.encode(answer)
"""
"""Keys: members, sums, hints, own counts. Arguments: member, ttl, seconds to keep keys, prefix, the request as JSON."""
