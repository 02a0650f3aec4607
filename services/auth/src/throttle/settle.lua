-- Refunds an attempt. A success also resets the counter of its key and trusts its network.
-- KEYS: as in admit.lua. ARGV: whether the network was trusted; whether the attempt succeeded; TTL of the trust.
-- A refund sets the next time to 0 instead of now, because clocks of instances differ.
local trusted, succeeded = ARGV[1] == '1', ARGV[2] == '1'
local own = trusted and KEYS[2] or KEYS[3]
local function refund(key)
  local count = tonumber(redis.call('hget', key, 'count'))
  if count and count > 0 then redis.call('hset', key, 'count', count - 1, 'next', 0) end
end
refund(KEYS[4])
if succeeded then
  redis.call('del', own)
  redis.call('set', KEYS[1], '1', 'px', ARGV[3])
else
  refund(own)
end
