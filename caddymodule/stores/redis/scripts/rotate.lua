-- KEYS: the grant, ends. ARGV: now, id of the call, old generation, new
-- generation, new end, its score, address of the program.
local g = redis.call('HMGET', KEYS[1], 'expires', 'keep', 'revoked', 'generation', 'call', 'person')
if over(g[1], g[2], ARGV[1]) then
  return {'absent'}
end
local verdict = 'ok'
if g[3] ~= '' then
  verdict = 'revoked'
elseif g[4] == ARGV[4] and g[5] == ARGV[2] then
  verdict = 'ok' -- the answer to this very call got lost
elseif g[4] ~= ARGV[3] then
  verdict = 'conflict'
else
  redis.call('HSET', KEYS[1], 'call', ARGV[2], 'generation', ARGV[4], 'rotated', ARGV[1],
    'expires', ARGV[5], 'keep', '', 'used', ARGV[1], 'from', ARGV[7])
  redis.call('ZADD', KEYS[2], ARGV[6], 'g' .. g[6])
end
return {verdict, redis.call('HGETALL', KEYS[1])}
