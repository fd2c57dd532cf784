-- KEYS: layout. ARGV: the layout that the caller knows, and the oldest that it
-- serves. They are written where there is none, or an older one. Returns what is
-- there then.
local there = redis.call('HMGET', KEYS[1], 'layout', 'serves')
local none = not there[1] and not there[2]
if none or (tonumber(there[1]) or math.huge) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'serves', ARGV[2])
  return {ARGV[1], ARGV[2]}
end
return there
