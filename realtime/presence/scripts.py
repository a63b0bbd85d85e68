"""Scripts of presence in Redis. KEYS[1] is the prefix of all keys of a partition, which share one slot of a cluster.

heartbeats: a sorted set of instances by last heartbeat
of:INSTANCE: a hash of the instance's users and their open sockets there
user:USER: a set of the instances that have the user, so that a lookup costs the same for any number of instances
instances: what `heartbeats` is to instances of the previous release, which do not write user:USER. They find the newer
instances here, too, with the score `inf`, so that they do not remove them.

Only Redis' clock is used.
"""

NOW = "local time = redis.call('TIME'); local now = tonumber(time[1]) + tonumber(time[2]) / 1e6"
SWEPT_SECONDS = 3_600  # for this long, an instance that was declared dead by mistake can detect that

# Each lookup also asks the instances of the previous release. Without them it is one command.
LOOK_UP = """
local p = KEYS[1]
local older = redis.call('ZRANGEBYSCORE', p .. 'instances', '-inf', '(inf')
local function is_online(user)
    if redis.call('EXISTS', p .. 'user:' .. user) == 1 then return true end
    for _, instance in ipairs(older) do
        if redis.call('HEXISTS', p .. 'of:' .. instance, user) == 1 then return true end
    end
    return false
end
"""

# ARGV: this instance, seconds without heartbeat after which an instance counts as dead.
# → {seconds since its last heartbeat (-1: none), whether it was swept, the dead instances}
HEARTBEAT = f"""
local p = KEYS[1]
{NOW}
local known = redis.call('ZSCORE', p .. 'heartbeats', ARGV[1])
local swept = redis.call('GETDEL', p .. 'swept:' .. ARGV[1])
redis.call('ZADD', p .. 'heartbeats', now, ARGV[1])
redis.call('ZADD', p .. 'instances', 'inf', ARGV[1])
redis.call('DEL', p .. 'left:' .. ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', p .. 'heartbeats', '-inf', now - tonumber(ARGV[2]))
for _, older in ipairs(redis.call('ZRANGEBYSCORE', p .. 'instances', '-inf', now - tonumber(ARGV[2]))) do
    dead[#dead + 1] = older
end
return {{known and math.floor(now - known) or -1, swept and 1 or 0, dead}}
"""

# ARGV: this instance, seconds within which an instance's sockets count, then pairs: user, open sockets here (-1: gone).
# → for each {was here before, is on another instance, open sockets on all instances}; nothing is stored and {} is
# returned if Redis does not know this instance, because then no other instance could detect its death.
REPORT = f"""
{LOOK_UP}
{NOW}
local me, fresh, answer = ARGV[1], now - tonumber(ARGV[2]), {{}}
if not redis.call('ZSCORE', p .. 'heartbeats', me) then return answer end
for i = 3, #ARGV, 2 do
    local user, count = ARGV[i], tonumber(ARGV[i + 1])
    local before, elsewhere, total = 0, 0, math.max(count, 0)
    if count < 0 then
        before = redis.call('HDEL', p .. 'of:' .. me, user)
        redis.call('SREM', p .. 'user:' .. user, me)
    else
        before = 1 - redis.call('HSET', p .. 'of:' .. me, user, count)
        redis.call('SADD', p .. 'user:' .. user, me)
    end
    local instances = redis.call('SMEMBERS', p .. 'user:' .. user)
    for _, instance in ipairs(older) do instances[#instances + 1] = instance end
    for _, instance in ipairs(instances) do
        local there = instance ~= me and redis.call('HGET', p .. 'of:' .. instance, user)
        if there then
            elsewhere = 1
            local heartbeat = redis.call('ZSCORE', p .. 'heartbeats', instance)
                or redis.call('ZSCORE', p .. 'instances', instance)
            if tonumber(heartbeat) >= fresh then total = total + tonumber(there) end
        end
    end
    answer[#answer + 1] = {{before, elsewhere, total}}
end
return answer
"""

# ARGV: this instance, after an orderly stop. Its users stay for the grace period, to reconnect to another instance.
LEAVE = """
if redis.call('ZSCORE', KEYS[1] .. 'heartbeats', ARGV[1]) then redis.call('SET', KEYS[1] .. 'left:' .. ARGV[1], 1) end
"""

# ARGV: an instance without heartbeats, seconds that mean death.
# → {} if it is alive, else {{its last heartbeat, users on no instance, 1 if it stopped in order and 0 if it died}}
SWEEP = f"""
{LOOK_UP}
{NOW}
local gone = {{}}
local heartbeat = redis.call('ZSCORE', p .. 'heartbeats', ARGV[1]) or redis.call('ZSCORE', p .. 'instances', ARGV[1])
if not heartbeat or tonumber(heartbeat) > now - tonumber(ARGV[2]) then return gone end
local users = redis.call('HKEYS', p .. 'of:' .. ARGV[1])
redis.call('ZREM', p .. 'heartbeats', ARGV[1])
redis.call('ZREM', p .. 'instances', ARGV[1])
redis.call('DEL', p .. 'of:' .. ARGV[1])
redis.call('SET', p .. 'swept:' .. ARGV[1], 1, 'EX', {SWEPT_SECONDS})
local left = redis.call('DEL', p .. 'left:' .. ARGV[1])
for _, user in ipairs(users) do
    redis.call('SREM', p .. 'user:' .. user, ARGV[1])
    if not is_online(user) then gone[#gone + 1] = user end
end
return {{{{heartbeat, gone, left}}}}
"""

# ARGV: users. → 1 or 0 for each
PRESENT = f"""
{LOOK_UP}
local answer = {{}}
for i, user in ipairs(ARGV) do answer[i] = is_online(user) and 1 or 0 end
return answer
"""
