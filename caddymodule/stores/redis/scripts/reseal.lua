-- KEYS: the grant, persons, ends, names. ARGV: what is expected of the grant's
-- document, generation, use and revocation, then as put.
local old = redis.call('HMGET', KEYS[1], 'document', 'generation', 'used', 'revoked')
if not old[1] then
  return 'absent'
end
for i = 1, 4 do
  if old[i] ~= ARGV[i] then
    return 'conflict'
  end
end
put(5)
return 'ok'
