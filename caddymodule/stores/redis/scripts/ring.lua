-- KEYS: the key ring. ARGV: version before, next version, id of the call, the
-- ring.
local old = redis.call('HMGET', KEYS[1], 'version', 'call')
local version = old[1] or '0'
if version == ARGV[2] and old[2] == ARGV[3] then
  return 'ok' -- the answer to this very call got lost
end
if version ~= ARGV[1] then
  return 'conflict'
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'call', ARGV[3], 'ring', ARGV[4])
return 'ok'
