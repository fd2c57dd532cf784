-- Comes before every script that needs it. Times are texts of 21 digits, which
-- compare as the times do; ends have a score in milliseconds as well.

-- put keeps a grant in the place of what is there. KEYS: the grant, persons,
-- ends, names. From ARGV[at] on: its member of persons, its member of names,
-- the score of its end, "listed" if it is good, and its fields.
local function put(at)
  local person, name = ARGV[at], ARGV[at + 1]
  local old = redis.call('HGET', KEYS[1], 'person')
  if old then
    redis.call('ZREM', KEYS[2], old)
    redis.call('ZREM', KEYS[3], 'g' .. old)
    redis.call('DEL', KEYS[1])
  end
  redis.call('HSET', KEYS[1], 'person', person, unpack(ARGV, at + 4))
  if ARGV[at + 3] == 'listed' then
    redis.call('ZADD', KEYS[2], 0, person)
  end
  redis.call('ZADD', KEYS[3], ARGV[at + 2], 'g' .. person)
  redis.call('ZADD', KEYS[4], 0, name)
end

-- over reports whether a grant that expires and is kept until then is absent.
local function over(expires, keep, now)
  return not expires or (expires <= now and keep <= now)
end

-- append gives an entry the next number of its shard's feed, and the time.
local function append(feed, meta, ends, entry)
  local number = string.format('%.0f', redis.call('HINCRBY', meta, 'number', 1))
  local time = redis.call('TIME')
  local at = time[1] .. string.format('%06d', time[2])
  redis.call('HSET', meta, 'at', at)
  redis.call('ZADD', feed, number, number .. ' ' .. at .. ' ' .. entry.body)
  redis.call('ZADD', ends, entry.score, 'r' .. number)
end

-- tell wakes those who wait for the feed. It is a hint: a user that may not
-- publish still revokes.
local function tell(channel)
  redis.pcall('PUBLISH', channel, '')
end
