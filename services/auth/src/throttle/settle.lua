-- Takes an attempt back. One that was right starts the tally of its key over, and makes its network known.
-- KEYS: as in admit.lua. ARGV: now; whether the network was known; whether it was right; how long it stays known.
local now, known, right = ARGV[1], ARGV[2] == '1', ARGV[3] == '1'
local own = known and KEYS[2] or KEYS[3]
local function back(key)
  local count = tonumber(redis.call('hget', key, 'count'))
  if count and count > 0 then redis.call('hset', key, 'count', count - 1, 'next', now) end
end
back(KEYS[4])
if right then
  redis.call('del', own)
  redis.call('set', KEYS[1], '1', 'px', ARGV[4])
else
  back(own)
end
