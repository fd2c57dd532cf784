-- KEYS: the grant, persons, ends, names. ARGV: now, id of the call, then as put.
local old = redis.call('HMGET', KEYS[1], 'expires', 'keep', 'call')
if old[3] and old[3] == ARGV[2] then
  return 'ok' -- the answer to this very call got lost
end
if not over(old[1], old[2], ARGV[1]) then
  return 'exists'
end
put(3)
return 'ok'
