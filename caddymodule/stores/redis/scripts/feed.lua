-- KEYS: feed, meta. ARGV: number and time of the entry that was read last.
-- Returns number and time of the newest entry, ever, and the entries after the
-- one that was read: all, if this feed is not the one that had it.
local newest = redis.call('HMGET', KEYS[2], 'number', 'at')
local number, at = newest[1] or '0', newest[2] or '0'
local from = ARGV[1]
if from == number then
  if ARGV[2] ~= at then
    from = '0'
  end
elseif from ~= '0' then
  local entry = redis.call('ZRANGEBYSCORE', KEYS[1], from, from)[1]
  if not entry or string.match(entry, '^%d+ (%d+) ') ~= ARGV[2] then
    from = '0'
  end
end
return {number, at, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. from, '+inf')}
