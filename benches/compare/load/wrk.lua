-- wrk's part. Arguments: the file of tokens or "-" for none, how many of its lines to pass over, the
-- path. One request a token, in turn; the totals as one line that `core/outputs.rs` reads.
local requests = {}
local turn = 0

function init(args)
  if args[1] == "-" then
    requests[1] = wrk.format("GET", args[3])
    return
  end
  local skip = tonumber(args[2])
  for token in io.lines(args[1]) do
    if skip > 0 then
      skip = skip - 1
    else
      requests[#requests + 1] =
        wrk.format("GET", args[3], { ["Authorization"] = "Bearer " .. token })
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format("TOTAL %d %d %d %d %d %d\n", summary.requests, summary.duration,
    e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
