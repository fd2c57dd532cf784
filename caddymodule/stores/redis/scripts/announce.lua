-- KEYS: feed, meta, ends. ARGV: the channel, then the score of its end and the
-- text of each entry.
for i = 2, #ARGV, 2 do
  append(KEYS[1], KEYS[2], KEYS[3], {score = ARGV[i], body = ARGV[i + 1]})
end
tell(ARGV[1])
return 'ok'
