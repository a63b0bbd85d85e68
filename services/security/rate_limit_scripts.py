"""The Redis side of services/security/rate_limit.py: each script is one atomic round trip.

KEYS name one counter per limit, and for attempts also the sorted set of those in flight. ARGV has period, hits and
burst (0: window) of each limit. Each limit is answered by {remaining, milliseconds until the counter is full again,
milliseconds until the next hit is allowed}.
"""

# Measure a counter with `take` more hits. Only `keep` writes it.
MEASURE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local function measure(key, first, take)
    local period, hits, burst = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
    local remaining, reset, wait, value, life
    if burst > 0 then
        local cost = period / hits
        local full = math.max(tonumber(redis.call('GET', key) or now) or now, now)
        value = full + take * cost
        life = math.max(value - now, 0)
        remaining = math.floor((burst * cost - life) / cost + 1e-6)
        reset, wait = life, life - burst * cost
    else
        local used = tonumber(redis.call('GET', key) or 0)
        local left = redis.call('PTTL', key) / 1000
        if left <= 0 then left = period; used = 0 end
        value, life = math.max(used + take, 0), left
        remaining, reset, wait = hits - value, left, left
    end
    if remaining >= 0 then wait = 0 end
    return {
        remaining = remaining, value = value, life = math.ceil(life * 1000),
        answer = {math.max(remaining, 0), math.ceil(reset * 1000), math.ceil(wait * 1000)}
    }
end
local function keep(key, counter)
    if counter.life > 0 then
        -- `tostring` keeps 14 digits: their rounding refuses a hit that the limit allows.
        redis.call('SET', key, string.format('%.17g', counter.value), 'PX', counter.life)
    else
        redis.call('DEL', key)
    end
end
"""

# ARGV ends with the hits to take from each limit; -1 gives one back, and if several do not fit, one is taken. All
# limits pass or none is counted. Answers {allowed, limits}; each limit's answer ends with the hits that were taken.
TAKE = (
    MEASURE
    + """
local answer, counters, allowed = {}, {}, 1
for i, key in ipairs(KEYS) do
    local hits = tonumber(ARGV[3 * #KEYS + i])
    counters[i] = measure(key, 3 * i - 2, hits)
    if counters[i].remaining < 0 and hits > 1 then
        hits = 1
        counters[i] = measure(key, 3 * i - 2, hits)
    end
    answer[i] = counters[i].answer
    answer[i][4] = hits
    if counters[i].remaining < 0 then allowed = 0 end
end
if allowed == 1 then
    for i, key in ipairs(KEYS) do keep(key, counters[i]) end
end
return {allowed, answer}
"""
)

# ARGV[1]: the attempt's id; ARGV[2]: seconds until an attempt whose instance has died is forgotten. KEYS are pairs: the
# first counts failures, the second holds the attempts in flight. Answers {state, limits}. The states are 1: the attempt
# has its place, 0: the failures alone exhaust a limit, 2: the attempts in flight may exhaust one.
RESERVE = (
    MEASURE
    + """
local answer, state = {}, 1
for i = 1, #KEYS / 2 do
    local failures, flights = KEYS[2 * i - 1], KEYS[2 * i]
    redis.call('ZREMRANGEBYSCORE', flights, '-inf', now)
    local alone = measure(failures, 3 * i, 1)
    local together = measure(failures, 3 * i, 1 + redis.call('ZCARD', flights))
    if alone.remaining < 0 then
        state, answer[i] = 0, alone.answer
    else
        answer[i] = {together.answer[1], together.answer[2], 0}
        if together.remaining < 0 and state == 1 then state = 2 end
    end
end
if state == 1 then
    for i = 1, #KEYS / 2 do
        redis.call('ZADD', KEYS[2 * i], now + tonumber(ARGV[2]), ARGV[1])
        redis.call('EXPIRE', KEYS[2 * i], ARGV[2])
    end
end
return {state, answer}
"""
)

# ARGV[1]: the attempt's id; ARGV[2]: 1 if it failed. KEYS as above.
SETTLE = (
    MEASURE
    + """
for i = 1, #KEYS / 2 do
    redis.call('ZREM', KEYS[2 * i], ARGV[1])
    if ARGV[2] == '1' then keep(KEYS[2 * i - 1], measure(KEYS[2 * i - 1], 3 * i, 1)) end
end
return 1
"""
)
