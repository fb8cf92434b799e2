-- The store of `redis://`: what the server does by itself, one section for each step that must not be cut.
--
-- Keys, all under the prefix of the URL (`eventbus` where it names none). Those of a queue have its name in
-- braces, so that a cluster keeps them in one slot:
--
--   PREFIX:queues             set         every queue that something was ever pushed to
--   PREFIX:flags              hash        flag -> when it ends (0: never), its value
--   PREFIX:kept:NAME          string      when it ends, its value; NAME is result:ID or progress:ID
--   PREFIX:{LIMIT}:spent:KEY  hash        when it ends -> how much counts until then against a limit
--   PREFIX:{LIMIT}:turn:KEY   string      when the next of those may come back whom the limit refused
--   PREFIX:{LIMIT}:slots      sorted set  owner -> when its slot ends
--   PREFIX:{QUEUE}:numbers    string      the last number that was given: order of arrival, and of failure
--   PREFIX:{QUEUE}:order      sorted set  id -> number; of what is ready, delayed or leased
--   PREFIX:{QUEUE}:line       sorted set  number and id -> due; the same jobs
--   PREFIX:{QUEUE}:bodies     hash        id -> when it was pushed, its delay, its body; of failed jobs too
--   PREFIX:{QUEUE}:leases     hash        id -> shared, number, token; of what is held
--   PREFIX:{QUEUE}:counts     hash        id -> attempts losses exceptions releases alone; only if not all 0
--   PREFIX:{QUEUE}:parked     hash        id -> why it cannot run yet
--   PREFIX:{QUEUE}:unique     hash        key -> since when somebody has it, until when, the number and id of who has it
--   PREFIX:{QUEUE}:keys       hash        id -> its key; in both, what is not in `order` counts for nothing
--   PREFIX:{QUEUE}:members    hash        id -> its batch, who is next, who catches, a line each; caught QUEUE/ID -> who failed
--   PREFIX:{QUEUE}:batches    hash        batch -> number total succeeded failed skipped allows_failures reached
--                                         created canceled finished name; kept until somebody prunes them
--   PREFIX:{QUEUE}:milestones hash        batch -> a line with a milestone and the id of what comes then, or `within`
--   PREFIX:{QUEUE}:failures   hash        id -> failed_at attempts losses releases number error
--   PREFIX:{QUEUE}:failed     sorted set  number and id -> failed_at; the same jobs
--
-- Channels, for workers that wait: PREFIX:{QUEUE}:bell and PREFIX:bell (a flag was set).
--
-- A body is never looked into. It has one place for its whole life: what waits, is leased or has failed is
-- told by the other keys, so no step copies it. `due` is the one instant that decides: when the delay is over,
-- and of a leased job when its lease ends; so what was lost is simply due again.
--
-- What waits for its turn in a plan is held: its due is 9007199254740991, or one less where its batch has
-- counted it as skipped, since what it was to follow has failed. Who follows is told by queue and id, as one text:
-- `emails/0192...`. A script goes on within its queue; what lies in another it leaves to whoever called it.
--
-- Instants are whole microseconds since 1970, by the server's clock: 16 digits, which a double holds exactly.
-- They become text with `whole`; Lua's own way would round them. A number is 12 hexadecimal digits wherever
-- it stands in front of an id, so that jobs which are due at the same instant lie in their order of arrival.
-- `shared` and `alone` are 0 or 1: held by a claim of several; lost once, so handed out by itself.
--
-- ARGV[1] is the instant, or empty for the server's own. Under `-- keys:` stand the keys that a section gets,
-- in this order, once for each queue.

-- :prelude
local NUMBER = 12
-- How many words Lua passes on at once, and more.
local STEP = 1000

local function instant(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

local function sane(number)
  -- What is no number that we give is none, in all places alike.
  number = tonumber(number) or 0
  return number >= 0 and number < 2 ^ 48 and number or 0
end

local function placed(number, id)
  return string.format('%012x', sane(number)) .. id
end

local function lease_of(text)
  -- Whether it is shared, the number, the token. By their places: a pattern takes four times as long.
  if text then
    return string.sub(text, 1, 1), string.sub(text, 3, 14), string.sub(text, 16)
  end
end

local function counts_of(text)
  local attempts, losses, exceptions, releases, alone =
    string.match(text or '', '^(%d+) (%d+) (%d+) (%d+) ([01])$')
  return tonumber(attempts) or 0, tonumber(losses) or 0, tonumber(exceptions) or 0,
    tonumber(releases) or 0, tonumber(alone) or 0
end

local function count(key, id, attempts, losses, exceptions, releases, alone)
  if attempts + losses + exceptions + releases + alone > 0 then
    redis.call('HSET', key, id,
      string.format('%d %d %d %d %d', attempts, losses, exceptions, releases, alone))
  end
end

local function head_of(line)
  -- When the first of a line is due.
  local head = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
  return tonumber(head[2] or 'inf')
end

local function ring(channel, head, now)
  -- Where something was due before, whoever waits has been woken, or is about to look.
  if not (head <= now) then
    redis.call('PUBLISH', channel, '')
  end
end

local function next_number(numbers, order, many)
  -- Returns the first of so many.
  local number = redis.call('INCRBY', numbers, many) - many + 1
  if number <= 1 then
    -- A key that was lost must not give numbers twice.
    local last = redis.call('ZRANGE', order, -1, -1, 'WITHSCORES')
    local least = sane(last[2]) + 1
    if number < least then
      number = redis.call('INCRBY', numbers, whole(least - number)) - many + 1
    end
  end
  return number
end

local function fail(failures, failed, id, at, attempts, losses, releases, number, error)
  redis.call('HSET', failures, id,
    string.format('%s %d %d %d %.0f ', at, attempts, losses, releases, number) .. error)
  redis.call('ZADD', failed, at, placed(number, id))
end

local function unfail(failures, failed, id)
  -- Returns whether it was there.
  local record = redis.call('HGET', failures, id)
  if not record then
    return false
  end
  redis.call('HDEL', failures, id)
  local number = string.match(record, '^%d+ %d+ %d+ %d+ (%d+) ')
  redis.call('ZREM', failed, placed(number or 0, id))
  return true
end

local function state_of(id, bodies, leases, failures)
  -- What became of a job that a claim does not hold.
  if redis.call('HEXISTS', bodies, id) == 0 then
    return 'gone'
  end
  if redis.call('HEXISTS', leases, id) == 1 then
    return 'held'
  end
  if redis.call('HEXISTS', failures, id) == 1 then
    return 'failed'
  end
  return 'waits'
end

local function until_then(key, micros)
  -- A key that the server lets go of; by whichever clock is ahead.
  redis.call('PEXPIRE', key, whole(math.ceil(micros / 1000)))
end

local function room_at(key, allow, now)
  -- From when on one more counts no more than `allow`; 0 if it does now.
  local spent, gone, over = {}, {}, 1 - allow
  local found = redis.call('HGETALL', key)
  for index = 1, #found, 2 do
    local ends, count = tonumber(found[index]), tonumber(found[index + 1])
    if ends and count and ends > now then
      spent[#spent + 1] = {ends, count}
      over = over + count
    else
      gone[#gone + 1] = found[index]
    end
  end
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  table.sort(spent, function(one, other) return one[1] < other[1] end)
  for _, one in ipairs(spent) do
    if over <= 0 then
      break
    end
    over = over - one[2]
    if over <= 0 then
      return one[1]
    end
  end
  return 0
end

local function let_go(unique, keys, id)
  -- Of the key of a job, if it has one.
  local key = redis.call('HGET', keys, id)
  if key then
    redis.call('HDEL', keys, id)
    local holder = string.match(redis.call('HGET', unique, key) or '', '^%d+ %d+ %d+ (.*)$')
    if holder == id then
      redis.call('HDEL', unique, key)
    end
  end
end

local function holder_of(unique, order, key)
  -- Who has a key, its number, since when, until when. Another of its id, which has another number, has it not.
  local since, ends, number, holder =
    string.match(redis.call('HGET', unique, key) or '', '^(%d+) (%d+) (%d+) (.*)$')
  if holder and tonumber(redis.call('ZSCORE', order, holder)) == tonumber(number) then
    return holder, tonumber(number), tonumber(since), tonumber(ends)
  end
end

local function give(unique, keys, key, id, number, since, ends)
  redis.call('HSET', unique, key,
    whole(since) .. ' ' .. whole(ends) .. ' ' .. whole(number) .. ' ' .. id)
  redis.call('HSET', keys, id, key)
end

-- Of an envelope that only waits for its turn: no batch counts it, nobody follows it, nobody catches.
local ALONE = '\n\n'
local HELD = 9007199254740991
local COUNTED = 9007199254740990
local MILESTONES = {begun = 1, started = 2, failed = 4, canceled = 8, succeeded = 16, finished = 32}

local function member_of(text)
  if text then
    local batch, following, catch = string.match(text, '^([^\n]*)\n([^\n]*)\n([^\n]*)$')
    return {batch = batch or '', next = following or '', catch = catch or ''}
  end
end

local function scoped(now, order, line, bodies, members, batches, milestones)
  -- What plans need to know of a queue, and what is to be counted.
  local queue = string.match(order, '{([^}]*)}')
  return {now = now, queue = queue, order = order, line = line, bodies = bodies, members = members,
    batches = batches, milestones = milestones, came = false, counts = {}}
end

local function coming(plan)
  -- Something is about to be due.
  if not plan.came then
    plan.came, plan.head = true, head_of(plan.line)
  end
end

local function near(plan, place)
  -- The id of what lies in this queue.
  local queue, id = string.match(place, '^([^/]*)/(.*)$')
  return queue == plan.queue and id or nil
end

local function held_at(plan, id)
  -- Where in the line, and its due, if it waits for its turn.
  local number = redis.call('ZSCORE', plan.order, id)
  if number then
    local spot = placed(number, id)
    local due = tonumber(redis.call('ZSCORE', plan.line, spot) or '0')
    if due >= COUNTED then
      return spot, due
    end
  end
end

local function tally_of(plan, batch)
  local text = redis.call('HGET', plan.batches, batch)
  if text then
    local number, total, succeeded, failed, skipped, allows, reached, created, canceled, finished, name =
      string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) ([01]) (%d+) (%d+) (%d+) (%d+) (.*)$')
    return number and {number = tonumber(number), total = tonumber(total), succeeded = tonumber(succeeded),
      failed = tonumber(failed), skipped = tonumber(skipped), allows = allows, reached = tonumber(reached),
      created = created, canceled = canceled, finished = finished, name = name}
  end
end

local function tell_tally(plan, batch, tally)
  redis.call('HSET', plan.batches, batch, string.format('%d %d %d %d %d %s %d %s %s %s ',
    tally.number, tally.total, tally.succeeded, tally.failed, tally.skipped, tally.allows,
    tally.reached, tally.created, tally.canceled, tally.finished) .. tally.name)
end

local function unbegun(plan, batch)
  -- Its tally, if it is a batch that has not begun.
  local tally = tally_of(plan, batch)
  return tally and tally.reached % 2 == 0 and tally or nil
end

local function rest_of(plan, place)
  -- Who is to follow: ids, places in the line and dues; and who comes then in another queue, or nobody.
  local found, seen = {}, {}
  while place ~= '' do
    local id = near(plan, place)
    if not id then
      return found, place
    end
    local spot, due = held_at(plan, id)
    if seen[id] or not spot then
      break
    end
    seen[id] = true
    found[#found + 1] = {id, spot, due}
    local after = member_of(redis.call('HGET', plan.members, id))
    place = after and after.next or ''
  end
  return found, ''
end

local function gather(plan, batch, total, succeeded, failed, skipped)
  if batch ~= '' then
    local found = plan.counts[batch] or {0, 0, 0, 0}
    plan.counts[batch] = {found[1] + total, found[2] + succeeded, found[3] + failed, found[4] + skipped}
  end
end

local function waiting_of(plan, batch)
  -- What comes when milestones are reached: names and ids.
  return string.gmatch(redis.call('HGET', plan.milestones, batch) or '', '(%a+) ([^\n]+)')
end

local function drop_held(plan, id)
  -- One that waits for its turn; and its batch with all of it, where it stands for one that has not begun.
  local left = {id}
  while #left > 0 do
    local name = table.remove(left)
    local spot = held_at(plan, name)
    if spot then
      redis.call('ZREM', plan.order, name)
      redis.call('ZREM', plan.line, spot)
      redis.call('HDEL', plan.bodies, name)
      redis.call('HDEL', plan.members, name)
    end
    if unbegun(plan, name) then
      for _, one in waiting_of(plan, name) do
        local member = member_of(redis.call('HGET', plan.members, one))
        for _, other in ipairs(rest_of(plan, member and member.next or '')) do
          left[#left + 1] = other[1]
        end
        left[#left + 1] = one
      end
      redis.call('HDEL', plan.milestones, name)
      redis.call('HDEL', plan.batches, name)
    end
  end
end

local function drop_rest(plan, member, others)
  -- Returns how many followed, and how many of them were not counted; what lies elsewhere is added to `others`.
  local rest, elsewhere = rest_of(plan, member.next)
  local fresh = 0
  for _, one in ipairs(rest) do
    drop_held(plan, one[1])
    if one[3] == HELD then
      fresh = fresh + 1
    end
  end
  for _, place in ipairs({elsewhere, member.catch}) do
    if place ~= '' then
      local id = near(plan, place)
      if id then
        drop_held(plan, id)
      else
        others[#others + 1] = place
      end
    end
  end
  return #rest, fresh
end

local function first_time(tally, milestone)
  local bit = MILESTONES[milestone]
  if math.floor(tally.reached / bit) % 2 == 1 then
    return false
  end
  tally.reached = tally.reached + bit
  return true
end

local function close_tally(plan, tally, reached)
  -- See whether all are settled; what is reached for the first time is added to `reached`.
  if tally.reached % 2 == 0 or tally.total > tally.succeeded + tally.failed + tally.skipped then
    tally.finished = '0'
    return
  end
  if tally.finished == '0' then
    tally.finished = whole(plan.now)
  end
  if tally.failed == 0 and tally.canceled == '0' and first_time(tally, 'succeeded') then
    reached.succeeded = true
  end
  if first_time(tally, 'finished') then
    reached.finished = true
  end
end

local function cancel_tally(plan, tally, reached)
  if tally.canceled == '0' then
    tally.canceled, reached.within = whole(plan.now), true
  end
  if first_time(tally, 'canceled') then
    reached.canceled = true
  end
end

local function let_come(plan, id)
  -- Returns whether it waited for its turn. That of one which stands for a batch is the turn of the batch.
  local tally = unbegun(plan, id)
  local spot = not tally and held_at(plan, id)
  if spot then
    local delay = string.match(redis.call('HGET', plan.bodies, id) or '', '^%d+ (%S+) ')
    local due = plan.now + math.floor((tonumber(delay) or 0) * 1000000 + 0.5)
    coming(plan)
    redis.call('ZADD', plan.line, whole(due), spot)
    if redis.call('HGET', plan.members, id) == ALONE then
      redis.call('HDEL', plan.members, id) -- it is a job as any other from now on
    end
  elseif tally then
    plan.begin(plan, id, tally)
  end
  return (spot or tally) and true or false
end

local function come_all(plan, batch, reached)
  if next(reached) == nil then
    return
  end
  for name, id in waiting_of(plan, batch) do
    if name == 'within' and reached.within then
      plan.cancel(plan, id)
    elseif reached[name] then
      let_come(plan, id)
    elseif reached.succeeded and (name == 'failed' or name == 'canceled') then
      drop_held(plan, id)
    end
  end
end

local function cancel_within(plan, batch)
  -- A batch that is part of one which was canceled, unless it is finished.
  local tally, reached = tally_of(plan, batch), {}
  if tally and tally.finished == '0' then
    cancel_tally(plan, tally, reached)
    tell_tally(plan, batch, tally)
    come_all(plan, batch, reached)
  end
end

local function begin_batch(plan, batch, tally)
  local reached = {begun = first_time(tally, 'begun')}
  close_tally(plan, tally, reached)
  tell_tally(plan, batch, tally)
  come_all(plan, batch, reached)
end

local function fail_member(plan, id)
  -- What catches comes, and those that will not follow are counted with the one that failed.
  local member = member_of(redis.call('HGET', plan.members, id))
  if not member then
    return
  end
  if member.catch ~= '' then
    redis.call('HSET', plan.members, 'caught ' .. member.catch, id)
    if near(plan, member.catch) then
      let_come(plan, near(plan, member.catch))
    end
  end
  local fresh = 0
  if member.batch ~= '' then
    for _, one in ipairs(rest_of(plan, member.next)) do
      if one[3] == HELD then
        redis.call('ZADD', plan.line, whole(COUNTED), one[2])
        fresh = fresh + 1
      end
    end
  end
  gather(plan, member.batch, 0, 0, 1, fresh)
end

local function forget_caught(plan, member, id)
  -- Of one that is no failed job any more.
  if member and member.catch ~= '' then
    local field = 'caught ' .. member.catch
    if redis.call('HGET', plan.members, field) == id then
      redis.call('HDEL', plan.members, field)
    end
  end
end

local function count_tallies(plan)
  for batch, counts in pairs(plan.counts) do
    local tally, reached = tally_of(plan, batch), {}
    if tally then
      tally.total = tally.total + counts[1]
      tally.succeeded = tally.succeeded + counts[2]
      tally.failed = tally.failed + counts[3]
      tally.skipped = tally.skipped + counts[4]
      if counts[2] + counts[3] + counts[4] > 0 and first_time(tally, 'started') then
        reached.started = true
      end
      if counts[3] > 0 then
        if first_time(tally, 'failed') then
          reached.failed = true
        end
        if tally.allows == '0' then
          cancel_tally(plan, tally, reached)
        end
      end
      close_tally(plan, tally, reached)
      tell_tally(plan, batch, tally)
      come_all(plan, batch, reached)
    end
  end
end

local function planned(...)
  local plan = scoped(...)
  plan.begin, plan.cancel = begin_batch, cancel_within
  return plan
end

local function ring_planned(plan, channel)
  if plan.came then
    ring(channel, plan.head, plan.now)
  end
end

local function store_members(plan, numbers, first)
  -- Those of ARGV from there on that are not stored already: id, delay, body, whether it is held, its member.
  local ids = {}
  for index = first, #ARGV, 5 do
    local id = ARGV[index]
    local kept = whole(plan.now) .. ' ' .. ARGV[index + 1] .. ' ' .. ARGV[index + 2]
    if redis.call('HSETNX', plan.bodies, id, kept) == 1 then
      ids[#ids + 1] = index
      redis.call('HSET', plan.members, id, ARGV[index + 4])
      gather(plan, member_of(ARGV[index + 4]).batch, 1, 0, 0, 0)
    end
  end
  if #ids == 0 then
    return 0
  end
  local number = next_number(numbers, plan.order, #ids)
  local is_new = number == 1 and 1 or 0
  for _, index in ipairs(ids) do
    local due = HELD
    if ARGV[index + 3] == '0' then
      due = plan.now + math.floor(tonumber(ARGV[index + 1]) * 1000000 + 0.5)
      coming(plan)
    end
    redis.call('ZADD', plan.order, number, ARGV[index])
    redis.call('ZADD', plan.line, whole(due), placed(number, ARGV[index]))
    number = number + 1
  end
  return is_new
end

-- :push
-- keys: numbers order line bodies
-- ARGV: instant, a channel for each queue; then for each envelope: which queue, id, delay, body. Returns whether
-- a queue had never been pushed to. An id that is stored already, failed ones too, is passed over.
local now = instant(ARGV[1])
local pushed_at = whole(now)
local queues = #KEYS / 4
local stored = {}
for index = 2 + queues, #ARGV, 4 do
  local queue, id, delay = tonumber(ARGV[index]), ARGV[index + 1], ARGV[index + 2]
  local kept = pushed_at .. ' ' .. delay .. ' ' .. ARGV[index + 3]
  if redis.call('HSETNX', KEYS[queue * 4 + 4], id, kept) == 1 then
    local ids = stored[queue]
    if not ids then
      ids = {}
      stored[queue] = ids
    end
    ids[#ids + 1] = id
    ids[-#ids] = delay == '0.0' and pushed_at or whole(now + math.floor(delay * 1000000 + 0.5))
  end
end
local is_new = 0
for queue, ids in pairs(stored) do
  local numbers, order, line = KEYS[queue * 4 + 1], KEYS[queue * 4 + 2], KEYS[queue * 4 + 3]
  local head = head_of(line)
  local number = next_number(numbers, order, #ids)
  if number == 1 then
    is_new = 1
  end
  for first = 1, #ids, STEP do
    local ordered, lined = {}, {}
    for index = first, math.min(first + STEP - 1, #ids) do
      local at = (index - first) * 2
      ordered[at + 1], ordered[at + 2] = number, ids[index]
      lined[at + 1], lined[at + 2] = ids[-index], placed(number, ids[index])
      number = number + 1
    end
    redis.call('ZADD', order, unpack(ordered))
    redis.call('ZADD', line, unpack(lined))
  end
  ring(ARGV[2 + queue], head, now)
end
return is_new

-- :push_unique
-- keys: numbers order line leases counts bodies parked unique keys
-- ARGV: instant, channel, id, delay, body, key, life in microseconds (0: no limit), whether it takes the place of
-- one that waits, in how many microseconds at the latest (0: no limit). Returns whether the queue had never been
-- pushed to, and the id of the one that stands back or gave way, or an empty one.
local now = instant(ARGV[1])
local id, delay, key = ARGV[3], ARGV[4], ARGV[6]
if redis.call('HEXISTS', KEYS[6], id) == 1 then
  return {0, ''}
end
-- Who is done leaves its key behind: a few of them go with each that comes.
for _, name in ipairs(redis.call('HRANDFIELD', KEYS[9], 3)) do
  if not redis.call('ZSCORE', KEYS[2], name) then
    let_go(KEYS[8], KEYS[9], name)
  end
end
local since, gone = now, ''
local holder, number, first, ends = holder_of(KEYS[8], KEYS[2], key)
if holder then
  local held = redis.call('HEXISTS', KEYS[4], holder) == 1
  if ARGV[8] == '1' and not held then
    since, gone = first, holder
    redis.call('ZREM', KEYS[2], holder)
    redis.call('ZREM', KEYS[3], placed(number, holder))
    for _, part in ipairs({5, 6, 7, 9}) do
      redis.call('HDEL', KEYS[part], holder)
    end
  elseif ARGV[8] == '0' and (ends == 0 or ends > now) then
    return {0, id}
  else
    redis.call('HDEL', KEYS[9], holder)
  end
end
local due = now + math.floor(tonumber(delay) * 1000000 + 0.5)
if ARGV[9] ~= '0' then
  due = math.min(due, since + ARGV[9])
end
redis.call('HSET', KEYS[6], id, whole(now) .. ' ' .. delay .. ' ' .. ARGV[5])
local head = head_of(KEYS[3])
local mine = next_number(KEYS[1], KEYS[2], 1)
let_go(KEYS[8], KEYS[9], id) -- of what one that is gone has left
give(KEYS[8], KEYS[9], key, id, mine, since, ARGV[7] == '0' and 0 or now + ARGV[7])
redis.call('ZADD', KEYS[2], mine, id)
redis.call('ZADD', KEYS[3], whole(due), placed(mine, id))
ring(ARGV[2], head, now)
return {mine == 1 and 1 or 0, gone}

-- :free
-- keys: leases unique keys
-- ARGV: instant (not used); then ids and tokens.
for index = 2, #ARGV, 2 do
  local _, _, token = lease_of(redis.call('HGET', KEYS[1], ARGV[index]))
  if token and token == ARGV[index + 1] then
    let_go(KEYS[2], KEYS[3], ARGV[index])
  end
end
return {}

-- :take
-- keys: order leases unique keys
-- ARGV: instant, id, token, key, life in microseconds (0: no limit). Returns whether it has the key now.
local now = instant(ARGV[1])
local _, _, token = lease_of(redis.call('HGET', KEYS[2], ARGV[2]))
if not token or token ~= ARGV[3] then
  return 0
end
local holder, _, _, ends = holder_of(KEYS[3], KEYS[1], ARGV[4])
if holder == ARGV[2] then
  return 1
end
if holder and (ends == 0 or ends > now) then
  return 0
end
if holder then
  redis.call('HDEL', KEYS[4], holder)
end
let_go(KEYS[3], KEYS[4], ARGV[2]) -- of another key, which it had in an attempt before
local number = redis.call('ZSCORE', KEYS[1], ARGV[2]) or 0
give(KEYS[3], KEYS[4], ARGV[4], ARGV[2], number, now, ARGV[5] == '0' and 0 or now + ARGV[5])
return 1

-- :claim
-- keys: line leases counts bodies parked members batches
-- ARGV: instant, lease in microseconds, limit, token, most bytes of a body, how many this claim has already.
-- Returns for each: which queue, id, body or its size where it cannot be read, counts, and of a member of a plan
-- what it is, behind 1 where its batch was canceled, else 0.
local now = instant(ARGV[1])
local ends = whole(now + ARGV[2])
local room, token, most = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local before = tonumber(ARGV[6])
local found, size = {}, 0
local claims = {}
for queue = 0, #KEYS / 7 - 1 do
  local base = queue * 7
  local line, leases, counts = KEYS[base + 1], KEYS[base + 2], KEYS[base + 3]
  local due = {}
  if size < room then
    due = redis.call('ZRANGEBYSCORE', line, '-inf', whole(now), 'LIMIT', 0, room - size)
  end
  if #due > 0 then
    local ids = {}
    for index = 1, #due do
      ids[index] = string.sub(due[index], NUMBER + 1)
    end
    local held = redis.call('HMGET', leases, unpack(ids))
    -- Most queues have nobody who was ever counted.
    local counted = redis.call('EXISTS', counts) == 1 and redis.call('HMGET', counts, unpack(ids)) or {}
    local first = size
    for index = 1, #due do
      local text = counted[index] or ''
      local alone = held[index] or string.sub(text, -1) == '1'
      if ids[index] == '' then
        redis.call('ZREM', line, due[index]) -- it is no job
      elseif not alone or before + size == 0 then
        if held[index] then
          local attempts, losses, exceptions, releases = counts_of(text)
          if lease_of(held[index]) ~= '1' then
            losses = losses + 1
          end
          text = string.format('%d %d %d %d 1', attempts, losses, exceptions, releases)
          redis.call('HSET', counts, ids[index], text)
        end
        local at = size * 5
        found[at + 1], found[at + 2], found[at + 3], found[at + 4] = queue, ids[index], due[index], text
        found[at + 5] = ''
        size = size + 1
      end
      -- Another that must be alone is passed over: its turn comes when it heads the line.
      if alone and size == 1 and before == 0 and found[2] == ids[index] then
        room = 0
        break
      end
    end
    claims[#claims + 1] = {base, first + 1, size}
  end
end
local shared = before + size > 1 and '1 ' or '0 '
for _, claim in ipairs(claims) do
  local base, places, tokens, names = claim[1], {}, {}, {}
  local bodies, readable, wanted = KEYS[base + 4], {}, {}
  for index = claim[2], claim[3] do
    local at = (index - 1) * 5
    local id, member = found[at + 2], found[at + 3]
    local place = #names * 2
    places[place + 1], places[place + 2] = ends, member
    tokens[place + 1], tokens[place + 2] = id, shared .. string.sub(member, 1, NUMBER) .. ' ' .. token
    names[#names + 1] = id
    local bytes = redis.call('HSTRLEN', bodies, id)
    if bytes == 0 or bytes > most then
      found[at + 3] = bytes
    else
      readable[#readable + 1], wanted[#wanted + 1] = id, at + 3
    end
  end
  if #names > 0 then
    redis.call('ZADD', KEYS[base + 1], unpack(places))
    redis.call('HSET', KEYS[base + 2], unpack(tokens))
    if redis.call('EXISTS', KEYS[base + 5]) == 1 then
      redis.call('HDEL', KEYS[base + 5], unpack(names))
    end
  end
  if #readable > 0 then
    local read = redis.call('HMGET', bodies, unpack(readable))
    for index = 1, #read do
      found[wanted[index]] = read[index]
    end
  end
  if #names > 0 and redis.call('EXISTS', KEYS[base + 6]) == 1 then
    local members, canceled = redis.call('HMGET', KEYS[base + 6], unpack(names)), {}
    for index = 1, #names do
      if members[index] then
        local batch = string.match(members[index], '^[^\n]*')
        if canceled[batch] == nil then
          local tally = batch ~= '' and redis.call('HGET', KEYS[base + 7], batch) or ''
          canceled[batch] = string.match(tally, '^%d+ %d+ %d+ %d+ %d+ %d+ %d+ %d+ [1-9]') and '1' or '0'
        end
        found[(claim[2] + index - 2) * 5 + 5] = canceled[batch] .. members[index]
      end
    end
  end
end
return found

-- :share
-- keys: leases
-- A claim that went on in another slot has more than its first. ARGV: instant (not used), id, token.
local shared, number, token = lease_of(redis.call('HGET', KEYS[1], ARGV[2]))
if token == ARGV[3] then
  redis.call('HSET', KEYS[1], ARGV[2], '1 ' .. number .. ' ' .. token)
end
return {}

-- :held
-- keys: leases
-- Returns the ids that a token holds. ARGV: instant (not used), token.
local found = {}
local leases = redis.call('HGETALL', KEYS[1])
for index = 1, #leases, 2 do
  local _, _, token = lease_of(leases[index + 1])
  if token == ARGV[2] then
    found[#found + 1] = leases[index]
  end
end
return found

-- :ack
-- keys: order line leases counts bodies failures
-- ARGV: instant (not used); then ids and tokens. Returns the place of each that is not held, and its state.
local ids = {}
for index = 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[index]
end
local names, members, stale = {}, {}, {}
local leases = redis.call('HMGET', KEYS[3], unpack(ids))
for index = 1, #ids do
  local lease = leases[index]
  if lease and string.sub(lease, 16) == ARGV[index * 2 + 1] then
    names[#names + 1], members[#members + 1] = ids[index], string.sub(lease, 3, 14) .. ids[index]
  else
    stale[#stale + 1] = index
    stale[#stale + 1] = state_of(ids[index], KEYS[5], KEYS[3], KEYS[6])
  end
end
if #names > 0 then
  redis.call('HDEL', KEYS[3], unpack(names))
  redis.call('HDEL', KEYS[5], unpack(names))
  redis.call('ZREM', KEYS[1], unpack(names))
  redis.call('ZREM', KEYS[2], unpack(members))
  if redis.call('EXISTS', KEYS[4]) == 1 then
    redis.call('HDEL', KEYS[4], unpack(names))
  end
end
return stale

-- :ack_counted
-- keys: order line leases counts bodies failures members batches
-- As `ack`, of members of a batch whom nobody follows, where nothing is reached by it: what most of them are. Returns
-- as `ack`; or nothing, where there is more to do, and nothing was done: `ack_members` does it. ARGV: instant (not
-- used), batch, whether they were skipped; then ids and tokens.
local head, total, succeeded, between, failed, skipped, rest, reached = string.match(
  redis.call('HGET', KEYS[8], ARGV[2]) or '', '^(%d+ (%d+) )(%d+)( (%d+) )(%d+)( [01] (%d+) .*)$')
local ids = {}
for index = 4, #ARGV, 2 do
  ids[#ids + 1] = ARGV[index]
end
-- Its bits: it has begun, and started.
if not head or reached % 4 ~= 3 or total - succeeded - failed - skipped <= #ids then
  return false
end
local names, spots, stale = {}, {}, {}
local leases = redis.call('HMGET', KEYS[3], unpack(ids))
for index = 1, #ids do
  local lease = leases[index]
  if lease and string.sub(lease, 16) == ARGV[index * 2 + 3] then
    names[#names + 1], spots[#spots + 1] = ids[index], string.sub(lease, 3, 14) .. ids[index]
  else
    stale[#stale + 1] = index
    stale[#stale + 1] = state_of(ids[index], KEYS[5], KEYS[3], KEYS[6])
  end
end
if #names > 0 then
  redis.call('HDEL', KEYS[3], unpack(names))
  redis.call('HDEL', KEYS[5], unpack(names))
  redis.call('HDEL', KEYS[7], unpack(names))
  redis.call('ZREM', KEYS[1], unpack(names))
  redis.call('ZREM', KEYS[2], unpack(spots))
  if redis.call('EXISTS', KEYS[4]) == 1 then
    redis.call('HDEL', KEYS[4], unpack(names))
  end
  local more = ARGV[3] == '1' and 0 or #names
  redis.call('HSET', KEYS[8], ARGV[2], head .. whole(succeeded + more) .. between ..
    whole(skipped + #names - more) .. rest)
end
return stale

-- :ack_members
-- keys: order line leases counts bodies failures members batches milestones
-- As `ack`, of members of plans: the next ones come, and batches count. ARGV: instant, channel, whether they were
-- skipped; then ids and tokens. Returns as `ack`.
local plan = planned(instant(ARGV[1]), KEYS[1], KEYS[2], KEYS[5], KEYS[7], KEYS[8], KEYS[9])
local skipped = tonumber(ARGV[3])
local ids = {}
for index = 4, #ARGV, 2 do
  ids[#ids + 1] = ARGV[index]
end
local names, spots, stale, ends = {}, {}, {}, {}
local leases, members = redis.call('HMGET', KEYS[3], unpack(ids)), redis.call('HMGET', KEYS[7], unpack(ids))
for index = 1, #ids do
  local lease = leases[index]
  if lease and string.sub(lease, 16) == ARGV[index * 2 + 3] then
    names[#names + 1], spots[#spots + 1] = ids[index], string.sub(lease, 3, 14) .. ids[index]
    -- Most members of a batch are alike.
    local text = members[index] or '\n\n'
    ends[text] = (ends[text] or 0) + 1
  else
    stale[#stale + 1] = index
    stale[#stale + 1] = state_of(ids[index], KEYS[5], KEYS[3], KEYS[6])
  end
end
if #names > 0 then
  redis.call('ZREM', KEYS[1], unpack(names))
  redis.call('ZREM', KEYS[2], unpack(spots))
  for _, part in ipairs({3, 5, 7}) do
    redis.call('HDEL', KEYS[part], unpack(names))
  end
  if redis.call('EXISTS', KEYS[4]) == 1 then
    redis.call('HDEL', KEYS[4], unpack(names))
  end
end
for text, size in pairs(ends) do
  local member = member_of(text)
  gather(plan, member.batch, 0, (1 - skipped) * size, 0, skipped * size)
  if member.next ~= '' or member.catch ~= '' then
    local following = near(plan, member.next)
    local goes_on = member.next ~= '' and not following
    if following then
      goes_on = let_come(plan, following)
    end
    if not goes_on and member.catch ~= '' and near(plan, member.catch) then
      drop_held(plan, near(plan, member.catch))
    end
  end
end
count_tallies(plan)
ring_planned(plan, ARGV[2])
return stale

-- :bury_members
-- keys: numbers order line leases counts bodies failures failed members batches milestones
-- As `bury`, of members of plans. ARGV: instant, channel, attempts, releases, error; then ids and tokens. Returns
-- as `ack`.
local plan = planned(instant(ARGV[1]), KEYS[2], KEYS[3], KEYS[6], KEYS[9], KEYS[10], KEYS[11])
local stale = {}
for index = 6, #ARGV, 2 do
  local id = ARGV[index]
  local _, number, token = lease_of(redis.call('HGET', KEYS[4], id))
  if token and token == ARGV[index + 1] then
    local attempts, losses, _, releases = counts_of(redis.call('HGET', KEYS[5], id))
    fail(KEYS[7], KEYS[8], id, whole(plan.now), attempts + ARGV[3], losses, releases + ARGV[4],
      next_number(KEYS[1], KEYS[2], 1), ARGV[5])
    redis.call('HDEL', KEYS[4], id)
    redis.call('HDEL', KEYS[5], id)
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[3], number .. id)
    fail_member(plan, id)
  else
    stale[#stale + 1] = (index - 4) / 2
    stale[#stale + 1] = state_of(id, KEYS[6], KEYS[4], KEYS[7])
  end
end
count_tallies(plan)
ring_planned(plan, ARGV[2])
return stale

-- :extend
-- keys: line leases bodies failures
-- ARGV: instant, lease in microseconds; then ids and tokens. Returns as `ack`.
local ends = whole(instant(ARGV[1]) + ARGV[2])
local stale = {}
for index = 3, #ARGV, 2 do
  local id = ARGV[index]
  local _, number, token = lease_of(redis.call('HGET', KEYS[2], id))
  if token and token == ARGV[index + 1] then
    redis.call('ZADD', KEYS[1], ends, number .. id)
  else
    stale[#stale + 1] = (index - 1) / 2
    stale[#stale + 1] = state_of(id, KEYS[3], KEYS[2], KEYS[4])
  end
end
return stale

-- :release
-- keys: line leases counts bodies parked failures
-- ARGV: instant, channel, delay in microseconds, whether it keeps its place, attempts, exceptions, releases, why
-- it is parked; then ids and tokens. One that keeps its place is due since it was first due, or now if that were
-- later. Returns as `ack`.
local now = instant(ARGV[1])
local head = head_of(KEYS[1])
local moved = false
local stale = {}
for index = 9, #ARGV, 2 do
  local id = ARGV[index]
  local _, number, token = lease_of(redis.call('HGET', KEYS[2], id))
  if token and token == ARGV[index + 1] then
    local due = now + ARGV[3]
    if ARGV[4] == '1' then
      local pushed_at, delay = string.match(redis.call('HGET', KEYS[4], id) or '', '^(%d+) (%S+) ')
      local first = (tonumber(pushed_at) or now) + math.floor((tonumber(delay) or 0) * 1000000 + 0.5)
      due = math.min(now, first)
    end
    local attempts, losses, exceptions, releases, alone = counts_of(redis.call('HGET', KEYS[3], id))
    count(KEYS[3], id, attempts + ARGV[5], losses, exceptions + ARGV[6], releases + ARGV[7], alone)
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZADD', KEYS[1], whole(due), number .. id)
    if ARGV[8] ~= '' then
      redis.call('HSET', KEYS[5], id, ARGV[8])
    end
    moved = true
  else
    stale[#stale + 1] = (index - 7) / 2
    stale[#stale + 1] = state_of(id, KEYS[4], KEYS[2], KEYS[6])
  end
end
if moved then
  ring(ARGV[2], head, now)
end
return stale

-- :bury
-- keys: numbers order line leases counts bodies failures failed
-- ARGV: instant, attempts, releases, error; then ids and tokens. Returns as `ack`.
local failed_at = whole(instant(ARGV[1]))
local stale = {}
for index = 5, #ARGV, 2 do
  local id = ARGV[index]
  local _, number, token = lease_of(redis.call('HGET', KEYS[4], id))
  if token and token == ARGV[index + 1] then
    local attempts, losses, _, releases = counts_of(redis.call('HGET', KEYS[5], id))
    fail(KEYS[7], KEYS[8], id, failed_at, attempts + ARGV[2], losses, releases + ARGV[3],
      next_number(KEYS[1], KEYS[2], 1), ARGV[4])
    redis.call('HDEL', KEYS[4], id)
    redis.call('HDEL', KEYS[5], id)
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[3], number .. id)
  else
    stale[#stale + 1] = (index - 3) / 2
    stale[#stale + 1] = state_of(id, KEYS[6], KEYS[4], KEYS[7])
  end
end
return stale

-- :condemn
-- keys: numbers order line leases counts bodies failures failed members batches milestones
-- A job that was claimed and cannot be run goes to the failed ones, under an id that can be typed. ARGV: instant,
-- id, token, its id from now on, error, channel.
local id, name = ARGV[2], ARGV[4]
local plan = planned(instant(ARGV[1]), KEYS[2], KEYS[3], KEYS[6], KEYS[9], KEYS[10], KEYS[11])
local _, number, token = lease_of(redis.call('HGET', KEYS[4], id))
if token and token == ARGV[3] then
  local attempts, losses, _, releases = counts_of(redis.call('HGET', KEYS[5], id))
  fail(KEYS[7], KEYS[8], name, whole(instant(ARGV[1])), attempts, losses, releases,
    next_number(KEYS[1], KEYS[2], 1), ARGV[5])
  redis.call('HDEL', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[3], number .. id)
  if name ~= id then
    local body = redis.call('HGET', KEYS[6], id)
    if body then
      redis.call('HSET', KEYS[6], name, body)
      redis.call('HDEL', KEYS[6], id)
    end
    local member = redis.call('HGET', KEYS[9], id)
    if member then
      redis.call('HSET', KEYS[9], name, member)
      redis.call('HDEL', KEYS[9], id)
    end
  end
  fail_member(plan, name)
  count_tallies(plan)
  ring_planned(plan, ARGV[6])
end
return {}

-- :failed_page
-- keys: failures failed
-- Returns up to so many numbers with ids, and when they failed, the oldest first. ARGV: instant (not used), when
-- the last one that is known failed, its number and id, how many. A server that threw keys away may have left
-- failed jobs in one of the two: they are put in order again.
if redis.call('HLEN', KEYS[1]) ~= redis.call('ZCARD', KEYS[2]) then
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    redis.call('ZREM', KEYS[2], member)
  end
  local failures = redis.call('HGETALL', KEYS[1])
  for index = 1, #failures, 2 do
    local at, number = string.match(failures[index + 1], '^(%d+) %d+ %d+ %d+ (%d+) ')
    redis.call('ZADD', KEYS[2], at or 0, placed(number, failures[index]))
  end
end
local found = {}
local first, room = 0, tonumber(ARGV[4])
while true do
  local page = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', first, room)
  for index = 1, #page, 2 do
    if (tonumber(page[index + 1]) > tonumber(ARGV[2]) or page[index] > ARGV[3]) and #found < room * 2 then
      found[#found + 1], found[#found + 2] = page[index], page[index + 1]
    end
  end
  if #page == 0 or #found >= room * 2 then
    return found
  end
  first = first + room
end

-- :failed
-- keys: bodies failures members
-- Returns of each that is there: id, record, body or its size where it cannot be read, its member. ARGV: instant (not used),
-- most bytes of a body; then ids.
local found = {}
for index = 3, #ARGV do
  local id = ARGV[index]
  local record = redis.call('HGET', KEYS[2], id)
  if record then
    local size = redis.call('HSTRLEN', KEYS[1], id)
    found[#found + 1], found[#found + 2] = id, record
    found[#found + 1] = size <= tonumber(ARGV[2]) and redis.call('HGET', KEYS[1], id) or size
    found[#found + 1] = redis.call('HGET', KEYS[3], id) or ''
  end
end
return found

-- :revive
-- keys: numbers order line failures failed unique keys bodies members batches milestones
-- Returns the ids that moved. ARGV: instant, channel; then ids.
local now = instant(ARGV[1])
local head = head_of(KEYS[3])
local plan = planned(now, KEYS[2], KEYS[3], KEYS[8], KEYS[9], KEYS[10], KEYS[11])
local moved = {}
for index = 3, #ARGV do
  local id = ARGV[index]
  if unfail(KEYS[4], KEYS[5], id) then
    let_go(KEYS[6], KEYS[7], id)
    local number = next_number(KEYS[1], KEYS[2], 1)
    redis.call('ZADD', KEYS[2], number, id)
    redis.call('ZADD', KEYS[3], whole(now), placed(number, id))
    moved[#moved + 1] = id
    local member = member_of(redis.call('HGET', KEYS[9], id))
    forget_caught(plan, member, id)
    local tally = member and member.batch ~= '' and tally_of(plan, member.batch)
    if tally then
      local again = 0
      for _, one in ipairs(rest_of(plan, member.next)) do
        if one[3] == COUNTED then
          redis.call('ZADD', KEYS[3], whole(HELD), one[2])
          again = again + 1
        end
      end
      tally.failed = math.max(tally.failed - 1, 0)
      tally.skipped = math.max(tally.skipped - again, 0)
      tally.canceled, tally.finished = '0', '0'
      tell_tally(plan, member.batch, tally)
    end
  end
end
if #moved > 0 then
  ring(ARGV[2], head, now)
end
return moved

-- :purge
-- keys: bodies failures failed order line members batches milestones
-- Returns the ids that were there; who was to follow in other queues; and how many followed in this one. ARGV:
-- instant (not used); then ids.
local plan = planned(0, KEYS[4], KEYS[5], KEYS[1], KEYS[6], KEYS[7], KEYS[8])
local gone, others, more = {}, {}, 0
for index = 2, #ARGV do
  local id = ARGV[index]
  if unfail(KEYS[2], KEYS[3], id) then
    redis.call('HDEL', KEYS[1], id)
    gone[#gone + 1] = id
    local member = member_of(redis.call('HGET', KEYS[6], id))
    if member then
      redis.call('HDEL', KEYS[6], id)
      forget_caught(plan, member, id)
      more = more + drop_rest(plan, member, others)
    end
  end
end
return {gone, others, more}

-- :cancel
-- keys: order line leases counts bodies parked members batches milestones
-- Returns as `purge`; a lease that has ended holds nothing any more. ARGV: instant, channel; then ids.
local now = instant(ARGV[1])
local plan = planned(now, KEYS[1], KEYS[2], KEYS[5], KEYS[7], KEYS[8], KEYS[9])
local gone, others, more = {}, {}, 0
for index = 3, #ARGV do
  local id = ARGV[index]
  local number = redis.call('ZSCORE', KEYS[1], id)
  if number then
    local spot = placed(number, id)
    local due = tonumber(redis.call('ZSCORE', KEYS[2], spot) or 0)
    if due <= now or redis.call('HEXISTS', KEYS[3], id) == 0 then
      local member = member_of(redis.call('HGET', KEYS[7], id))
      redis.call('ZREM', KEYS[1], id)
      redis.call('ZREM', KEYS[2], spot)
      for key = 3, 7 do
        redis.call('HDEL', KEYS[key], id)
      end
      gone[#gone + 1] = id
      if member then
        drop_held(plan, id) -- and a batch that it stands for, or what is left to run of it
        if due >= COUNTED then
          cancel_within(plan, id)
        end
        local size, fresh = drop_rest(plan, member, others)
        more = more + size
        gather(plan, member.batch, 0, 0, 0, fresh + (due == COUNTED and 0 or 1))
      end
    end
  end
end
count_tallies(plan)
ring_planned(plan, ARGV[2])
return {gone, others, more}

-- :take_out
-- keys: order line bodies members batches milestones
-- What waits for its turn, and who is to follow it. Returns as `purge`. ARGV: instant (not used); then ids.
local plan = planned(0, KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
local gone, others, more = {}, {}, 0
for index = 2, #ARGV do
  local id = ARGV[index]
  if held_at(plan, id) then
    local member = member_of(redis.call('HGET', KEYS[4], id))
    drop_held(plan, id)
    gone[#gone + 1] = id
    if member then
      more = more + drop_rest(plan, member, others)
    end
  end
end
return {gone, others, more}

-- :turn_of
-- keys: order line bodies members batches milestones
-- Lets turns come. Returns the ids of those that waited for theirs. ARGV: instant, channel; then ids.
local plan = planned(instant(ARGV[1]), KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
local came = {}
for index = 3, #ARGV do
  if let_come(plan, ARGV[index]) then
    came[#came + 1] = ARGV[index]
  end
end
ring_planned(plan, ARGV[2])
return came

-- :push_members
-- keys: numbers order line bodies members batches milestones
-- ARGV: instant, channel; then for each envelope: id, delay, body, whether it is held, its member. Returns as `push`.
local plan = planned(instant(ARGV[1]), KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
local is_new = store_members(plan, KEYS[1], 3)
count_tallies(plan)
ring_planned(plan, ARGV[2])
return is_new

-- :open
-- keys: numbers order line bodies members batches milestones
-- ARGV: instant, channel, how many batches; then of each: its id, its name, whether it allows failures, what waits
-- for its milestones; then envelopes as `push_members`. Returns whether the queue had never been pushed to.
local plan = planned(instant(ARGV[1]), KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
local first = 4 + tonumber(ARGV[3]) * 4
local new = {}
for index = 4, first - 1, 4 do
  local batch = ARGV[index]
  local record = string.format('%d 0 0 0 0 %s 0 %s 0 0 ', redis.call('HLEN', KEYS[6]) + 1, ARGV[index + 2],
    whole(plan.now)) .. ARGV[index + 1]
  if redis.call('HSETNX', KEYS[6], batch, record) == 1 then
    redis.call('HSET', KEYS[7], batch, ARGV[index + 3])
    new[#new + 1] = batch
  end
end
local is_new = 0
if #new > 0 or ARGV[3] == '0' then
  is_new = store_members(plan, KEYS[1], first)
end
count_tallies(plan)
for _, batch in ipairs(new) do
  local gated = false
  for name in waiting_of(plan, batch) do
    gated = gated or name == 'begun'
  end
  if not gated then
    begin_batch(plan, batch, tally_of(plan, batch))
  end
end
ring_planned(plan, ARGV[2])
return is_new

-- :link
-- keys: order members
-- ARGV: instant (not used), id, who follows it from now on. Returns whether it is there.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  return 0
end
local member = member_of(redis.call('HGET', KEYS[2], ARGV[2])) or member_of('\n\n')
redis.call('HSET', KEYS[2], ARGV[2], member.batch .. '\n' .. ARGV[3] .. '\n' .. member.catch)
return 1

-- :cancel_batch
-- keys: order line bodies members batches milestones
-- ARGV: instant, channel, batch. Returns whether it is there.
local plan = planned(instant(ARGV[1]), KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
local tally = tally_of(plan, ARGV[3])
if not tally then
  return 0
end
local reached = {}
cancel_tally(plan, tally, reached)
tell_tally(plan, ARGV[3], tally)
come_all(plan, ARGV[3], reached)
ring_planned(plan, ARGV[2])
return 1

-- :forget_batches
-- keys: order line bodies members batches milestones
-- ARGV: instant, channel; then batches. Returns those that were there, and who was to follow in other queues.
local plan = planned(instant(ARGV[1]), KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
local gone, others = {}, {}
for index = 3, #ARGV do
  local batch = ARGV[index]
  if redis.call('HDEL', KEYS[5], batch) == 1 then
    gone[#gone + 1] = batch
    for name, id in waiting_of(plan, batch) do
      local spot, due = held_at(plan, id)
      if spot and name ~= 'within' then
        -- What stands for it in another plan is a member of that.
        local member = member_of(redis.call('HGET', KEYS[4], id)) or member_of('\n\n')
        drop_held(plan, id)
        local _, fresh = drop_rest(plan, member, others)
        gather(plan, member.batch, 0, 0, 0, fresh + (due == COUNTED and 0 or 1))
      end
    end
  end
  redis.call('HDEL', KEYS[6], batch)
end
count_tallies(plan)
ring_planned(plan, ARGV[2])
return {gone, others}

-- :page
-- keys: order
-- Returns up to so many ids and their numbers, in order of arrival; and what number came last. ARGV: instant (not
-- used), the number after which to begin, the last one or empty, how many.
local last = ARGV[3] ~= '' and ARGV[3] or (redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '0')
return {
  last,
  redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[2], last, 'WITHSCORES', 'LIMIT', 0, ARGV[4])
}

-- :size
-- keys: line leases failures
-- Returns how many are ready, delayed, leased, failed, held. ARGV: instant.
local now = instant(ARGV[1])
local ready = redis.call('ZCOUNT', KEYS[1], '-inf', whole(now))
local leased = 0
local leases = redis.call('HGETALL', KEYS[2])
for index = 1, #leases, 2 do
  local _, number = lease_of(leases[index + 1])
  local due = number and redis.call('ZSCORE', KEYS[1], number .. leases[index])
  if due and tonumber(due) > now then
    leased = leased + 1
  end
end
local held = redis.call('ZCOUNT', KEYS[1], whole(COUNTED), whole(HELD))
local waiting = redis.call('ZCARD', KEYS[1]) - ready - leased - held
return {ready, waiting, leased, redis.call('HLEN', KEYS[3]), held}

-- :peek
-- keys: order line leases counts bodies parked members
-- Returns the instant; then of each that is there: id, number, due, whether it is held, counts, why it is parked,
-- body or its size where it cannot be read, its member. ARGV: instant, most bytes of a body; then ids.
local found = {whole(instant(ARGV[1]))}
for index = 3, #ARGV do
  local id = ARGV[index]
  local number = redis.call('ZSCORE', KEYS[1], id)
  if number then
    local size = redis.call('HSTRLEN', KEYS[5], id)
    local at = #found
    found[at + 1], found[at + 2] = id, number
    found[at + 3] = redis.call('ZSCORE', KEYS[2], placed(number, id)) or '0'
    found[at + 4] = redis.call('HEXISTS', KEYS[3], id)
    found[at + 5] = redis.call('HGET', KEYS[4], id) or ''
    found[at + 6] = redis.call('HGET', KEYS[6], id) or ''
    found[at + 7] = size <= tonumber(ARGV[2]) and redis.call('HGET', KEYS[5], id) or size
    found[at + 8] = redis.call('HGET', KEYS[7], id) or ''
  end
end
return found

-- :next_due
-- keys: order line leases numbers
-- Returns in how many microseconds the next is due, or nothing. ARGV: instant, whether those count that are held.
-- A server that threw keys away may have left jobs in one of two sets: they are put in their line again.
local now = instant(ARGV[1])
if redis.call('ZCARD', KEYS[1]) ~= redis.call('ZCARD', KEYS[2]) then
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local number = tonumber(string.sub(member, 1, NUMBER), 16)
    if #member > NUMBER then
      redis.call('ZADD', KEYS[1], 'NX', number or 0, string.sub(member, NUMBER + 1))
    else
      redis.call('ZREM', KEYS[2], member) -- it is no job
    end
  end
  redis.call('ZREM', KEYS[1], '')
  local ids = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for index = 1, #ids, 2 do
    redis.call('ZADD', KEYS[2], 'NX', whole(now), placed(ids[index + 1], ids[index]))
  end
end
local first = 0
while true do
  local page = redis.call('ZRANGE', KEYS[2], first, first + 99, 'WITHSCORES')
  for index = 1, #page, 2 do
    local due = tonumber(page[index + 1])
    if due <= now then
      return '0'
    elseif due >= COUNTED then
      return false -- all that is left waits for its turn
    end
    if ARGV[2] == '1' or redis.call('HEXISTS', KEYS[3], string.sub(page[index], NUMBER + 1)) == 0 then
      return whole(due - now)
    end
  end
  if #page == 0 then
    return false
  end
  first = first + 100
end

-- :flag
-- keys: flags
-- ARGV: instant, channel, name, life in microseconds or empty; its value, or nothing to take it away.
local now = instant(ARGV[1])
local flags = redis.call('HGETALL', KEYS[1])
for index = 1, #flags, 2 do
  local ends = tonumber(string.match(flags[index + 1], '^(%d+) ') or '1')
  if ends ~= 0 and ends <= now then
    redis.call('HDEL', KEYS[1], flags[index])
  end
end
if ARGV[5] then
  local ends = ARGV[4] ~= '' and whole(now + ARGV[4]) or '0'
  redis.call('HSET', KEYS[1], ARGV[3], ends .. ' ' .. ARGV[5])
else
  redis.call('HDEL', KEYS[1], ARGV[3])
end
redis.call('PUBLISH', ARGV[2], '')
return {}

-- :flags
-- keys: flags
-- Returns names and values of those that have not ended. ARGV: instant.
local now = instant(ARGV[1])
local found = {}
local flags = redis.call('HGETALL', KEYS[1])
for index = 1, #flags, 2 do
  local ends, value = string.match(flags[index + 1], '^(%d+) (.*)$')
  if ends == '0' or (ends and tonumber(ends) > now) then
    found[#found + 1], found[#found + 2] = flags[index], value
  end
end
return found

-- :keep
-- keys: kept
-- ARGV: instant, life in microseconds, value.
local ends = whole(instant(ARGV[1]) + ARGV[2])
redis.call('SET', KEYS[1], ends .. ' ' .. ARGV[3])
until_then(KEYS[1], tonumber(ARGV[2]))
return {}

-- :kept
-- keys: kept
-- Returns the value, if it has not ended. ARGV: instant.
local ends, value = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
return ends and tonumber(ends) > instant(ARGV[1]) and value

-- :spend
-- keys: spent
-- One of each key, or none. ARGV: instant, whether it counts; then of each window how much it allows, its
-- length and its step in microseconds. Returns in how many microseconds there is room; 0 if there was.
local now = instant(ARGV[1])
local free = 0
for index = 1, #KEYS do
  free = math.max(free, room_at(KEYS[index], tonumber(ARGV[index * 3]), now))
end
if free > 0 then
  return whole(free - now)
end
if ARGV[2] == '1' then
  for index = 1, #KEYS do
    local every, step = tonumber(ARGV[index * 3 + 1]), tonumber(ARGV[index * 3 + 2])
    local ends = (math.floor(now / step) + 1) * step + every
    redis.call('HINCRBY', KEYS[index], whole(ends), 1)
    until_then(KEYS[index], ends - now)
  end
end
return '0'

-- :turn
-- keys: spent turn
-- Of each window a key of each kind. ARGV: instant, the furthest turn; then of each window how much it allows
-- and its length in microseconds. Returns in how many microseconds the turn is.
local now = instant(ARGV[1])
local free, turn = 0, now
for index = 1, #KEYS, 2 do
  free = math.max(free, room_at(KEYS[index], tonumber(ARGV[index + 2]), now))
end
for index = 1, #KEYS, 2 do
  turn = math.max(turn, tonumber(redis.call('GET', KEYS[index + 1]) or '0') or 0)
end
turn = math.min(math.max(turn, free), math.max(free, now + ARGV[2]))
for index = 1, #KEYS, 2 do
  local step = math.floor(ARGV[index + 3] / ARGV[index + 2])
  redis.call('SET', KEYS[index + 1], whole(turn + step))
  until_then(KEYS[index + 1], turn + step - now + 1)
end
return whole(turn - now)

-- :refund
-- keys: spent turn
-- ARGV: instant (not used).
redis.call('DEL', unpack(KEYS))
return {}

-- :enter
-- keys: slots
-- ARGV: instant, owner, how many there are, life in microseconds. Returns in how many microseconds the first of
-- them ends; 0 if the owner has one now.
local now = instant(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return whole(head_of(KEYS[1]) - now)
end
redis.call('ZADD', KEYS[1], whole(now + ARGV[4]), ARGV[2])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
until_then(KEYS[1], last[2] - now)
return '0'

-- :leave
-- keys: slots
-- ARGV: instant, owner. Returns whether it still had a slot.
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or '0')
redis.call('ZREM', KEYS[1], ARGV[2])
return ends > instant(ARGV[1]) and 1 or 0

-- :allowed
-- keys:
-- Returns for each of some commands whether whoever asks may say it, and says none of them. ARGV: instant (not
-- used); then of each how many words it has, and these.
local found = {}
local index = 2
while index <= #ARGV do
  local length = tonumber(ARGV[index])
  -- One that this server does not have is an error.
  local is_known, may = pcall(redis.acl_check_cmd, unpack(ARGV, index + 1, index + length))
  found[#found + 1] = is_known and may and 1 or 0
  index = index + length + 1
end
return found
