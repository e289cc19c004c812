"""What Redis runs in one step: the three kinds of limits, counted as ``kinds`` counts them.

``KEYS`` has a key for each limit. ``ARGV`` has what is done (``take`` or ``settle``), the name of the request's lease,
for how many microseconds that holds, and then five values for each key:

1. the kind,
2. what is taken (``take``), or how much more it was than that (``settle``),
3. the most that may be used, with what is allowed for rounding,
4. of a rate what flows out in a microsecond; of a quota when three periods begin and the last ends, of which the second
   is now where the script is asked,
5. of a quota that is settled when the period began in which it was taken.

The answer is 1 or 0 (taken, or not), the moment, and for each key what is used then and its mark. Numbers that may have
a fraction, or 17 digits, are text. Times are whole microseconds of Redis' own clock, since those of replicas differ: so
one says when periods begin, and the script which of them it is.

A request that runs is in a sorted set under the name of its lease, with the moment at which that ends by itself, as of
one whose replica died.
"""

from typing import Final

SCRIPT: Final = """
local WIDTH, HOUR = 5, 3600000000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local is_taking, lease, lease_us = ARGV[1] == 'take', ARGV[2], tonumber(ARGV[3])

local function load(key)
  local used, mark = string.match(redis.call('GET', key) or '', '^([%d.e+-]+) (%d+)$')
  used, mark = tonumber(used), tonumber(mark)
  if used and mark and used >= 0 and used <= 2^53 and mark <= 2^53 then
    return used, mark
  end
  return 0, nil
end

local function keep(key, used, mark, lives_us)
  if used <= 0 then
    redis.call('DEL', key)
    return
  end
  local lives_ms = math.ceil(math.min(math.max(lives_us, 0), 1e15) / 1000) + 1
  redis.call('SET', key, string.format('%.17g %.0f', used, mark), 'PX', string.format('%.0f', lives_ms))
end

local kinds = {}

kinds.rate = {
  read = function(line)
    local used, mark = load(line.key)
    if mark and mark > now then
      -- The clock was set back. What is used flows out from here on, also of a caller that is refused.
      keep(line.key, used, now, used / line.per_us)
    end
    return math.max(0, used - math.max(0, now - (mark or now)) * line.per_us), now
  end,
  add = function(line, amount)
    line.used = math.max(0, line.used + amount)
    keep(line.key, line.used, now, line.used / line.per_us)
  end,
}

kinds.quota = {
  read = function(line)
    local used, mark = load(line.key)
    for i = 1, 3 do
      if mark == line.marks[i] and mark - HOUR <= now and now < line.marks[i + 1] then
        return used, mark
      end
    end
    local this = 1
    while this < 3 and line.marks[this + 1] <= now do
      this = this + 1
    end
    return 0, line.marks[this]
  end,
  add = function(line, amount)
    if is_taking or line.mark == line.taken_at then
      line.used = math.max(0, line.used + amount)
      keep(line.key, line.used, line.mark, line.marks[4] + HOUR - now)
    end
  end,
}

kinds.concurrency = {
  read = function(line)
    redis.call('ZREMRANGEBYSCORE', line.key, '-inf', string.format('%.0f', now))
    return redis.call('ZCARD', line.key), now
  end,
  add = function(line, amount)
    if is_taking then
      redis.call('ZADD', line.key, string.format('%.0f', now + lease_us), lease)
      local lives_ms = math.max(redis.call('PTTL', line.key), math.ceil(lease_us / 1000) + 1)
      redis.call('PEXPIRE', line.key, lives_ms)
    else
      redis.call('ZREM', line.key, lease)
    end
    line.used = redis.call('ZCARD', line.key)
  end,
}

local lines, admits = {}, true
for i, key in ipairs(KEYS) do
  local at = 3 + (i - 1) * WIDTH
  local line = {key = key, kind = kinds[ARGV[at + 1]], amount = tonumber(ARGV[at + 2]), most = tonumber(ARGV[at + 3])}
  if ARGV[at + 1] == 'rate' then
    line.per_us = tonumber(ARGV[at + 4])
  elseif ARGV[at + 1] == 'quota' then
    line.marks, line.taken_at = {}, tonumber(ARGV[at + 5])
    for mark in string.gmatch(ARGV[at + 4], '%d+') do
      table.insert(line.marks, tonumber(mark))
    end
  end
  line.used, line.mark = line.kind.read(line)
  if is_taking and line.used + line.amount > line.most then
    admits = false
  end
  lines[i] = line
end

local told = {admits and 1 or 0, string.format('%.0f', now)}
for _, line in ipairs(lines) do
  if admits then
    line.kind.add(line, line.amount)
  end
  table.insert(told, string.format('%.17g', line.used))
  table.insert(told, string.format('%.0f', line.mark))
end
return told
"""
