-- What a threshold that was reached leaves in the shard's stream, in the step that reached it: core/limit-warning.ts in Lua.

local function instant(ms)
  -- Days to a date of the Gregorian calendar, in years that begin in March.
  local days = math.floor(ms / 86400000)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local rest = ms - days * 86400000
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(rest / 3600000), math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60, rest % 1000)
end

-- Of the shard, like the key of what is due.
local function stream_key()
  return string.sub(KEYS[1], 1, -8 - #ARGV[2]) .. ':events'
end

local function tell(key, threshold, limit, currency)
  -- Behind the prefix of the customer's keys, which KEYS[1] has with another end.
  local counter = string.sub(key, #KEYS[1] + 4)
  local customer = ARGV[2]
  local id = 'warn_' .. redis.sha1hex(customer .. '\n' .. counter .. '\n' .. threshold)
  local event = cjson.encode({
    specversion = '1.0', id = id, source = WARNING_SOURCE, type = WARNING_TYPE, subject = customer,
    time = instant(now), datacontenttype = 'application/json',
    data = { customer = customer, counter = counter, threshold = threshold, amount = int(limit), currency = currency or cjson.null },
  })
  redis.call('XADD', stream_key(), '*', EVENT_FIELD, event)
end

-- Thresholds of a quota ('500,900', ascending; 'USD500,900' of a budget) that `used` has reached and nobody was told of; the counter remembers.
local function warn(c, key, index, thresholds, limit, crossed)
  if thresholds == '' then return end
  for text in string.gmatch(thresholds, '%d+') do
    local threshold = tonumber(text)
    if threshold > c.at and threshold <= c.used then
      c.at = threshold
      tell(key, text, limit, string.match(thresholds, '%u%u%u'))
      crossed[#crossed + 1] = int(index)
      crossed[#crossed + 1] = text
    end
  end
end
