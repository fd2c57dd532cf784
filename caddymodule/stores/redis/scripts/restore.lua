-- KEYS: the grant, persons, ends, names. ARGV: as put.
put(1)
return 'ok'
