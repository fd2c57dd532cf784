-- KEYS: any key of the server whose time it is.
return redis.call('TIME')
