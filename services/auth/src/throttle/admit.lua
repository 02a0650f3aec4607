-- Counts an attempt, unless one of its tallies says that it is too early.
-- KEYS: the mark of a known network; the tallies of key and network, key, network.
-- ARGV: now; how long a tally is kept; for each tally its free attempts and longest wait (milliseconds).
-- Answers whether the network is known, and the milliseconds to wait. tally.rs does the same without Redis.
local now, kept = tonumber(ARGV[1]), ARGV[2]
local known = redis.call('exists', KEYS[1])
local tallies = { known == 1 and 1 or 2, 3 }
local wait = 0
local counts = {}
for i, tally in ipairs(tallies) do
  local stored = redis.call('hmget', KEYS[tally + 1], 'count', 'next')
  counts[i] = tonumber(stored[1]) or 0
  wait = math.max(wait, (tonumber(stored[2]) or 0) - now)
end
if wait > 0 then return { known, wait } end
for i, tally in ipairs(tallies) do
  local free, longest = tonumber(ARGV[2 * tally + 1]), tonumber(ARGV[2 * tally + 2])
  local count = counts[i] + 1
  local next = 0
  if count >= free then next = now + math.min(longest, 1000 * 2 ^ math.min(count - free, 30)) end
  redis.call('hset', KEYS[tally + 1], 'count', count, 'next', string.format('%.0f', next))
  redis.call('pexpire', KEYS[tally + 1], kept)
end
return { known, 0 }
