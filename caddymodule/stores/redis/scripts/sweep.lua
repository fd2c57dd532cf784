-- KEYS: ends, persons, names, used, feed, then the grants in question. ARGV: now
-- in milliseconds, then members of ends. What got another end meanwhile stays.
local now, removed, grant = tonumber(ARGV[1]), 0, 5
for i = 2, #ARGV do
  local member = ARGV[i]
  local kind, name = string.sub(member, 1, 1), string.sub(member, 2)
  if kind == 'g' then
    grant = grant + 1
  end
  local score = redis.call('ZSCORE', KEYS[1], member)
  if score and tonumber(score) <= now then
    redis.call('ZREM', KEYS[1], member)
    if kind == 'g' then
      redis.call('DEL', KEYS[grant])
      redis.call('ZREM', KEYS[2], name)
      redis.call('ZREM', KEYS[3], 'g' .. string.sub(name, 65))
    elseif kind == 'u' then
      redis.call('HDEL', KEYS[4], name)
      redis.call('ZREM', KEYS[3], member)
    else
      redis.call('ZREMRANGEBYSCORE', KEYS[5], name, name)
    end
    removed = removed + 1
  end
end
return removed
