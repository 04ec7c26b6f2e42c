-- The fields of the state that a verb looks at, where it says what it holds not at all: before head.lua.
--
-- ARGV 2 how many; 3 and on: these

local fields = { '@', unpack(ARGV, 3, 2 + ARGV[2]) }
