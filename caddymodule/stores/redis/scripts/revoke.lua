-- KEYS: the grant, persons, ends, feed, meta. ARGV: now, id of the call, the
-- entry's end, its score, the entry, the channel.
local g = redis.call('HMGET', KEYS[1], 'expires', 'keep', 'revoked', 'call', 'person')
if over(g[1], g[2], ARGV[1]) then
  return 'absent'
end
if g[3] ~= '' then
  if g[4] == ARGV[2] then
    return 'ok' -- the answer to this very call got lost
  end
  return 'before'
end
redis.call('HSET', KEYS[1], 'call', ARGV[2], 'revoked', ARGV[1])
redis.call('ZREM', KEYS[2], g[5])
if ARGV[3] > g[1] and ARGV[3] > g[2] then
  redis.call('HSET', KEYS[1], 'keep', ARGV[3])
  redis.call('ZADD', KEYS[3], ARGV[4], 'g' .. g[5])
end
append(KEYS[4], KEYS[5], KEYS[3], {score = ARGV[4], body = ARGV[5]})
tell(ARGV[6])
return 'ok'
