-- wrk's side of the benchmark: `wrk -s wrk.lua URL -- DEPTH` sends DEPTH requests at once (default 1), and prints
-- the totals as one line that a script can read.

function init(args)
  local depth = tonumber(args[1]) or 1
  if depth > 1 then
    local batch = string.rep(wrk.format("GET"), depth)
    -- Defined only here: without a request function wrk sends a constant, and spends less of its own core.
    request = function() return batch end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("TOTALS requests=%d duration_us=%d p50_us=%.0f p99_us=%.0f socket_errors=%d bad_status=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
