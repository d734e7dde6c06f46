# Turns the measurements of scripts/bench.sh into tables: medians over the rounds, with the lowest and the highest.
# Tables and rows come in the order of the first round.

/^#/ || $1 == "round" { next }
{
  table = $2 FS $3
  if (!(table in known)) { known[table] = 1; tables[++count] = table }
  if (!($4 in known)) { known[$4] = 1; server[++names] = $4 }
  add(table, $4, $5, $6)
  if ($5 == "cpu_us_per_request") cost[table, $4, $1] = $6
  if ($1 > rounds) rounds = $1
}

END {
  # The ratio is taken within each round, when both ran under the same weather.
  for (t = 1; t <= count; t++)
    for (s = 1; s <= names; s++)
      for (r = 1; r <= rounds; r++)
        if ((tables[t], "floor", r) in cost && (tables[t], server[s], r) in cost)
          add(tables[t], server[s], "ratio", cost[tables[t], server[s], r] / cost[tables[t], "floor", r])

  for (t = 1; t <= count; t++) {
    split(tables[t], part, FS)
    printf "\n%s, %d connections\n", part[1], part[2]
    if (part[1] == "idle") {
      printf "%-14s %s\n", "server", "resident bytes per connection"
      for (s = 1; s <= names; s++) printf "%-14s %s\n", server[s], spread(tables[t], server[s], "idle_bytes", "%d")
      continue
    }
    row = "%-14s %-22s %-20s %-26s %-18s %-20s %s\n"
    printf row, "server", "CPU us per request", "ratio to floor", "requests per second", "p99 us", "system calls", "busy"
    for (s = 1; s <= names; s++)
      printf row, server[s], \
        spread(tables[t], server[s], "cpu_us_per_request", "%.3f"), spread(tables[t], server[s], "ratio", "%.2f"), \
        spread(tables[t], server[s], "requests_per_second", "%d"), spread(tables[t], server[s], "p99_us", "%d"), \
        spread(tables[t], server[s], "system_calls_per_request", "%.3f"), median(tables[t], server[s], "busy", "%.2f")
  }
}

function add(table, server, metric, value) {
  values[table, server, metric, ++number[table, server, metric]] = value + 0
}

# Sorts what was measured into `sorted`, and returns how many values there are.
function sort(table, server, metric,    n, i, j, value) {
  n = number[table, server, metric]
  for (i = 1; i <= n; i++) {
    value = values[table, server, metric, i]
    for (j = i - 1; j > 0 && sorted[j] > value; j--) sorted[j + 1] = sorted[j]
    sorted[j + 1] = value
  }
  return n
}

function median(table, server, metric, format,    n) {
  n = sort(table, server, metric)
  return n ? sprintf(format, (sorted[int((n + 1) / 2)] + sorted[int(n / 2) + 1]) / 2) : "-"
}

function spread(table, server, metric, format,    middle, n) {
  middle = median(table, server, metric, format)
  n = number[table, server, metric]
  return n > 1 ? sprintf("%s (" format "-" format ")", middle, sorted[1], sorted[n]) : middle
}
