-- Counts an email to an address, unless the address has reached the maximum within the window.
-- KEYS: the count. ARGV: now; the window (milliseconds); the maximum.
-- Returns whether the email may be sent. counter.rs does the same without Redis.
local now, window, max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('hmget', KEYS[1], 'count', 'ends')
local count, ends = tonumber(stored[1]) or 0, tonumber(stored[2]) or 0
if ends <= now then count, ends = 0, now + window end
if count >= max then return 0 end
redis.call('hset', KEYS[1], 'count', count + 1, 'ends', string.format('%.0f', ends))
redis.call('pexpire', KEYS[1], window)
return 1
