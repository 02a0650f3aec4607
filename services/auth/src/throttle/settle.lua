-- Takes an attempt back. One that was right starts the tally of its key over, and makes its network known.
-- KEYS: as in admit.lua. ARGV: whether the network was known; whether it was right; how long it stays known.
-- What is taken back makes nobody wait: 0 and not now, since clocks of instances differ.
local known, right = ARGV[1] == '1', ARGV[2] == '1'
local own = known and KEYS[2] or KEYS[3]
local function back(key)
  local count = tonumber(redis.call('hget', key, 'count'))
  if count and count > 0 then redis.call('hset', key, 'count', count - 1, 'next', 0) end
end
back(KEYS[4])
if right then
  redis.call('del', own)
  redis.call('set', KEYS[1], '1', 'px', ARGV[3])
else
  back(own)
end
