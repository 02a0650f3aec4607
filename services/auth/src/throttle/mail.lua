-- Counts a mail to an address, unless the address has had as many as it gets within a window.
-- KEYS: the count. ARGV: now; the window (milliseconds); how many mails.
-- Answers whether the mail may be sent. tally.rs does the same without Redis.
local now, window, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call('hmget', KEYS[1], 'count', 'ends')
local count, ends = tonumber(stored[1]) or 0, tonumber(stored[2]) or 0
if ends <= now then count, ends = 0, now + window end
if count >= most then return 0 end
redis.call('hset', KEYS[1], 'count', count + 1, 'ends', string.format('%.0f', ends))
redis.call('pexpire', KEYS[1], window)
return 1
