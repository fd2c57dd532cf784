-- KEYS: clients, names. ARGV: the client's key, the record as it is kept, and,
-- if it must not have changed, the record before.
if ARGV[3] then
  local old = redis.call('HGET', KEYS[1], ARGV[1])
  if old ~= ARGV[3] then
    return 'conflict'
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, 'c' .. ARGV[1])
return 'ok'
