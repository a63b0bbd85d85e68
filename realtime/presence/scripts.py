"""Presence in Redis: a hash per instance (user → open sockets there), a sorted set of instances by last heartbeat.

All keys share a hash tag, so that the scripts also run in a Redis cluster. Only Redis' clock is used.
"""

INSTANCES = "encer:{presence}:instances"
OF = "encer:{presence}:of:"
SWEPT = "encer:{presence}:swept:"
LEFT = "encer:{presence}:left:"
NOW = "local time = redis.call('TIME'); local now = tonumber(time[1]) + tonumber(time[2]) / 1e6"
SWEPT_SECONDS = 3_600  # for this long, an instance that was declared dead by mistake can detect that

# ARGV: this instance, seconds without heartbeat after which an instance counts as dead.
# → {seconds since its last heartbeat (-1: none), whether it was swept, the dead instances}
HEARTBEAT = f"""
{NOW}
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
local swept = redis.call('GETDEL', '{SWEPT}' .. ARGV[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('DEL', '{LEFT}' .. ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
return {{known and math.floor(now - known) or -1, swept and 1 or 0, dead}}
"""

# ARGV: this instance, seconds within which an instance's sockets count, then pairs: user, open sockets here (-1: gone).
# → for each {was here before, is on another instance, open sockets on all instances}
REPORT = f"""
{NOW}
local fresh = now - tonumber(ARGV[2])
local others = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local answer = {{}}
for i = 3, #ARGV, 2 do
    local user, count = ARGV[i], tonumber(ARGV[i + 1])
    local mine = '{OF}' .. ARGV[1]
    local before, elsewhere, total = redis.call('HEXISTS', mine, user), 0, math.max(count, 0)
    if count < 0 then redis.call('HDEL', mine, user) else redis.call('HSET', mine, user, count) end
    for j = 1, #others, 2 do
        local there = others[j] ~= ARGV[1] and redis.call('HGET', '{OF}' .. others[j], user)
        if there then
            elsewhere = 1
            if tonumber(others[j + 1]) >= fresh then total = total + tonumber(there) end
        end
    end
    answer[#answer + 1] = {{before, elsewhere, total}}
end
return answer
"""

# ARGV: this instance, after an orderly stop. Its users stay for the grace period, to reconnect to another instance.
LEAVE = f"""
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then redis.call('SET', '{LEFT}' .. ARGV[1], 1) end
"""

# ARGV: an instance without heartbeats, seconds that mean death.
# → {} if it is alive, else {{its last heartbeat, users on no instance, 1 if it stopped in order and 0 if it died}}
SWEEP = f"""
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
{NOW}
if not beat or tonumber(beat) > now - tonumber(ARGV[2]) then return {{}} end
local users = redis.call('HKEYS', '{OF}' .. ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', '{OF}' .. ARGV[1])
redis.call('SET', '{SWEPT}' .. ARGV[1], 1, 'EX', {SWEPT_SECONDS})
local left = redis.call('DEL', '{LEFT}' .. ARGV[1])
local others, gone = redis.call('ZRANGE', KEYS[1], 0, -1), {{}}
for _, user in ipairs(users) do
    local there = false
    for _, other in ipairs(others) do
        if redis.call('HEXISTS', '{OF}' .. other, user) == 1 then there = true; break end
    end
    if not there then gone[#gone + 1] = user end
end
return {{{{beat, gone, left}}}}
"""

# ARGV: users. → 1 or 0 for each
PRESENT = f"""
local others, answer = redis.call('ZRANGE', KEYS[1], 0, -1), {{}}
for i, user in ipairs(ARGV) do
    answer[i] = 0
    for _, other in ipairs(others) do
        if redis.call('HEXISTS', '{OF}' .. other, user) == 1 then answer[i] = 1; break end
    end
end
return answer
"""
