-- Counts an attempt, unless one of its counters demands a wait.
-- KEYS: mark of a trusted network; counters of key and network, key, network.
-- ARGV: now; TTL of a counter; for each counter its free attempts and longest wait (milliseconds).
-- Returns whether the network is trusted, and the milliseconds to wait. counter.rs does the same without Redis.
local now, ttl = tonumber(ARGV[1]), ARGV[2]
local trusted = redis.call('exists', KEYS[1])
local counters = { trusted == 1 and 1 or 2, 3 }
local wait = 0
local counts = {}
for i, counter in ipairs(counters) do
  local stored = redis.call('hmget', KEYS[counter + 1], 'count', 'next')
  counts[i] = tonumber(stored[1]) or 0
  wait = math.max(wait, (tonumber(stored[2]) or 0) - now)
end
if wait > 0 then return { trusted, wait } end
for i, counter in ipairs(counters) do
  local free, longest = tonumber(ARGV[2 * counter + 1]), tonumber(ARGV[2 * counter + 2])
  local count = counts[i] + 1
  local next = 0
  if count >= free then next = now + math.min(longest, 1000 * 2 ^ math.min(count - free, 30)) end
  redis.call('hset', KEYS[counter + 1], 'count', count, 'next', string.format('%.0f', next))
  redis.call('pexpire', KEYS[counter + 1], ttl)
end
return { trusted, 0 }
