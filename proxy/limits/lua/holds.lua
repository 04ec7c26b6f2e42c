-- What a call holds, for the verbs that say so: before head.lua.
--
-- ARGV 2 '#' and the id; 3 a list as JSON with six for each hold: its counter, its kind, its span, its amount or what it
-- used, its limit, what else the verb is told. (One text, since each argument costs the gateway and Redis by itself.)

local holds = cjson.decode(ARGV[3])
local hold_count = #holds / 6
local id = string.sub(ARGV[2], 2)

-- What head.lua reads: slots are made at once, four holds need no more.
local fields = { '@', ARGV[2], nil, nil, nil, nil }
for i = 1, hold_count do fields[i + 2] = holds[i * 6 - 5] end
