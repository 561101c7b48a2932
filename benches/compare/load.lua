-- wrk's part: one request a token, in turn; the totals as one line.
local requests = {}
local turn = 0

function init(args)
  for token in io.lines(args[1]) do
    requests[#requests + 1] =
      wrk.format("GET", "/api/items/1", { ["Authorization"] = "Bearer " .. token })
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format("TOTAL %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
