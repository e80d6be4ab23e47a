-- Asks what a file says, again and again, and prints what came of it as one line of JSON.
-- Arguments: the file of requests, each ended by a NUL, and after how many answers to stop before the time is over.

local ffi = require("ffi")
ffi.cdef[[
  typedef struct { long seconds; long microseconds; } moment;
  int gettimeofday(moment *now, void *zone);
]]

local moment = ffi.new("moment")
local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) + tonumber(moment.microseconds) / 1e6
end

local the_thread
function setup(thread)
  the_thread = thread
end

local function report(seconds, ok, unavailable, other, broken, timeouts, p50, p99, longest, gap)
  print(string.format(
    '{"seconds": %f, "ok": %d, "unavailable": %d, "other": %d, "broken": %d, "timeouts": %d, '
      .. '"p50": %f, "p99": %f, "longest": %f, "longest_gap": %f}',
    seconds, ok, unavailable, other, broken, timeouts, p50, p99, longest, gap))
end

local requests, turn = {}, 0
function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for one in file:read("*a"):gmatch("%Z+") do requests[#requests + 1] = one end
  file:close()
  began, most, answered = now(), tonumber(arguments[2]) or math.huge, 0
  ok, unavailable, other, longest_gap, last = 0, 0, 0, 0, now()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(status)
  if status == 200 then ok = ok + 1 elseif status == 503 then unavailable = unavailable + 1 else other = other + 1 end
  local at = now()
  if at - last > longest_gap then longest_gap = at - last end
  last, answered = at, answered + 1
  if answered >= most then  -- wrk itself would sleep until the time is over; it alone knows latencies
    report(at - began, ok, unavailable, other, 0, 0, 0, 0, 0, longest_gap * 1e3)
    io.stdout:flush()
    os.exit(0)
  end
end

function done(summary, latency)
  local gap = math.max(the_thread:get("longest_gap"), now() - the_thread:get("last"))
  local failed = summary.errors
  report(
    summary.duration / 1e6, the_thread:get("ok"), the_thread:get("unavailable"), the_thread:get("other"),
    failed.connect + failed.read + failed.write, failed.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3, gap * 1e3)
end
