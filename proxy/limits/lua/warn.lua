-- What a threshold that was reached leaves in the shard's stream, in the step that reached it: core/limit-warning.ts in Lua.

local function tell(name, threshold, limit, currency)
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

  local book = rare()
  local customer = book.customer()
  local id = 'warn_' .. redis.sha1hex(customer .. '\n' .. name .. '\n' .. threshold)
  local event = cjson.encode({
    specversion = '1.0', id = id, source = WARNING_SOURCE, type = WARNING_TYPE, subject = customer,
    time = instant(now), datacontenttype = 'application/json',
    data = {
      customer = customer, counter = name, threshold = threshold, amount = book.int(limit),
      currency = currency or cjson.null,
    },
  })
  call('XADD', book.key_of_shard('events'), '*', EVENT_FIELD, event)
end

-- Thresholds of a quota that `used` has reached and nobody was told of ('500,900', ascending; 'USD500,900' of a budget; up
-- to a space or '|'); the counter remembers.
local function warn(c, name, index, said, crossed)
  -- Nothing is said, or only something else: ' ' 32, 'k' 107, '|' 124.
  local first = string.byte(said)
  if not first or first == 32 or first == 107 or first == 124 then return crossed end
  local thresholds = string.match(said, '^[^ |]*')
  for text in string.gmatch(thresholds, '%d+') do
    local threshold = tonumber(text)
    if threshold > c.at and threshold <= c.used then
      c.at = threshold
      tell(name, text, c.limit, string.match(thresholds, '%u%u%u'))
      crossed = crossed or {}
      crossed[#crossed + 1] = index
      crossed[#crossed + 1] = threshold
    end
  end
  return crossed
end
