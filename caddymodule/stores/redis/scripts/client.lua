-- KEYS: clients, names. ARGV: the client's key, version before, id of the call,
-- the record as it is kept (version, 1 if deleted, id of the call, JSON).
local old = redis.call('HGET', KEYS[1], ARGV[1])
local version, deleted, call = '0', '0', nil
if old then
  version, deleted, call = string.match(old, '^(%d+) ([01]) (%S*) ')
end
if call == ARGV[3] then
  return 'ok' -- the answer to this very call got lost
end
if deleted ~= '0' or version ~= ARGV[2] then
  return 'conflict'
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[2], 0, 'c' .. ARGV[1])
return 'ok'
