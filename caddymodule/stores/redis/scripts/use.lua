-- KEYS: used, ends, names. ARGV: now, id of the call, hash of the key, the mark
-- (two times and the id of the call), score of its end; and anything, only to look.
local old = redis.call('HGET', KEYS[1], ARGV[3])
if old then
  if string.sub(old, 43) == ARGV[2] then
    return '' -- the answer to this very call got lost
  end
  if string.sub(old, 22, 42) > ARGV[1] then
    return old
  end
end
if ARGV[6] then
  return '' -- it was a question
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[5], 'u' .. ARGV[3])
redis.call('ZADD', KEYS[3], 0, 'u' .. ARGV[3])
return ''
