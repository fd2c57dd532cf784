-- KEYS: a grant for each use. ARGV: now, then time and address of each use.
for i, key in ipairs(KEYS) do
  local at, from = ARGV[2 * i], ARGV[2 * i + 1]
  local g = redis.call('HMGET', key, 'expires', 'keep', 'revoked', 'used')
  if not over(g[1], g[2], ARGV[1]) and g[3] == '' and at > g[4] then
    redis.call('HSET', key, 'used', at, 'from', from)
  end
end
return 'ok'
