#!/usr/bin/env bash
# Measures what a request costs the server, beside the peers and in one run. What it means: bench/README.md.
set -euo pipefail

usage() {
  cat <<'HELP'
usage: scripts/bench.sh [option]... [scenario]...

Builds Kiang and the servers of bench/, loads them one after the other on one core, several rounds in turn, and prints
for each server the median of the rounds with the lowest and the highest.

scenarios (default: all)
  rr           one request at a time on each connection
  pipelined    16 requests at a time on each connection
  idle         resident memory of an idle keep-alive connection

options
  --server NAME=COMMAND  one more server, after those of SERVERS; {port} and {cpu} in COMMAND are replaced. It listens
                         on 127.0.0.1:{port} and answers GET /plaintext like the others. May be repeated.
  --no-build             takes the binaries that are there
  --report FILE          only prints the tables of an earlier run, from its file in target/bench/
  --help

environment
  SERVERS      which, in order             (floor epoll may_minihttp hyper kiang)
  CONNECTIONS  one count, or several       (64)
  DEPTH        requests that are pipelined (16)
  ROUNDS       how often                   (5)
  DURATION     seconds of each measurement (5)
  WARMUP       seconds of load before it   (1)
  SERVER_CPU   where the server runs       (0)
  CLIENT_CPU   where wrk runs              (1)
  IDLE         idle connections            (10000)
  WRK_OPTIONS  more options for wrk, such as -HAccept:text/plain

Needs cargo, wrk, curl, awk and taskset; perf or strace to count system calls. The measurements go to target/bench/.
HELP
}

fail() {
  echo "bench.sh: $*" >&2
  exit 1
}

cd "$(dirname "$0")/.."

: "${SERVERS=floor epoll may_minihttp hyper kiang}" "${CONNECTIONS:=64}" "${DEPTH:=16}" "${ROUNDS:=5}" "${DURATION:=5}"
: "${WARMUP:=1}" "${SERVER_CPU:=0}" "${CLIENT_CPU:=1}" "${IDLE:=10000}" "${WRK_OPTIONS=}"

declare -A commands=(
  [floor]='bench/target/release/bench-floor {port}'
  [epoll]='bench/target/release/bench-epoll {port}'
  [may_minihttp]='bench/target/release/bench-may_minihttp {port}'
  [hyper]='bench/target/release/bench-hyper {port}'
  # A bare number would be a count of cores.
  [kiang]='target/release/kiang serve --bind 127.0.0.1:{port} --cores {cpu}-{cpu}'
)
read -ra servers <<<"$SERVERS"
scenarios=()
build=yes
while (($#)); do
  case $1 in
    --help) usage && exit ;;
    --no-build) build=no ;;
    --report) exec awk -F '\t' -f bench/report.awk "${2?}" ;;
    --server)
      [[ ${2-} == ?*=?* ]] || fail "--server wants NAME=COMMAND"
      commands[${2%%=*}]=${2#*=}
      servers+=("${2%%=*}")
      shift
      ;;
    rr | pipelined | idle) scenarios+=("$1") ;;
    *) fail "$1? See --help." ;;
  esac
  shift
done
((${#scenarios[@]})) || scenarios=(rr pipelined idle)

[[ $SERVER_CPU != "$CLIENT_CPU" ]] || fail "server and client need a core each"
for server in "${servers[@]}"; do
  [[ -v commands[$server] ]] || fail "there is no server $server; known: ${!commands[*]}"
done
for tool in cargo wrk curl awk taskset; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done
for cpu in "$SERVER_CPU" "$CLIENT_CPU"; do
  taskset -c "$cpu" true 2>/dev/null || fail "there is no CPU $cpu to run on"
done
# The servers and the client inherit it: 10,000 connections need as many descriptors.
ulimit -Sn "$(ulimit -Hn)"

# perf counts in the kernel; strace stops the server at each call, which also changes how many requests share one.
tracer=none
if perf stat -e raw_syscalls:sys_enter -- true >/dev/null 2>&1; then
  tracer=perf
elif strace -c -U calls,name true >/dev/null 2>&1; then
  tracer=strace
fi

scratch=$(mktemp -d)
pid=
port=18080

start() { # SERVER: starts it, sets pid and port, and returns when it has given the right answer
  local server=$1 command answer
  # A new port for each: io_uring is torn down some time after its process has ended. One that answers is taken.
  until ((port += 1)) && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  command=${commands[$server]//\{port\}/$port}
  # shellcheck disable=SC2086 # words, not one
  PORT=$port taskset -c "$SERVER_CPU" ${command//\{cpu\}/$SERVER_CPU} >"$scratch/log" 2>&1 &
  pid=$!
  for _ in {1..100}; do
    if answer=$(curl -si --max-time 5 "http://127.0.0.1:$port/plaintext"); then
      verify "$server" "$answer"
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$scratch/log" >&2
  fail "$server did not start: $command"
}

verify() { # SERVER ANSWER: what all of them must send, so that they do comparable work
  local head=${2%%$'\r\n\r\n'*} field
  for field in $'content-length: 13\r' $'content-type: text/plain*\r' $'server: *\r' 'date: ???, ?? ??? ???? *GMT'; do
    [[ ${head,,}$'\r\n' == *$'\n'${field,,}* ]] || fail "$1 sends no '${field%$'\r'}':"$'\n'"$2"
  done
  [[ $head == 'HTTP/1.1 200 '* && ${2#*$'\r\n\r\n'} == 'Hello, World!' ]] || fail "$1 answers:"$'\n'"$2"
}

stop() {
  [[ $pid ]] || return 0
  kill "$pid" 2>/dev/null || true
  for _ in {1..50}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=
}

results=
finish() {
  (($? == 0)) || [[ ! $results ]] || echo "bench.sh: what was measured so far: --report $results" >&2
  stop
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The process's CPU time so far: nanoseconds, and clock ticks (10 ms as a rule).
#
# The first is the sum over its threads, kernel workers of io_uring included, of the time they have run, user and
# system: exact, but a thread takes its share along when it ends. The second forgets nothing but is coarse, so it only
# guards the first. Both count what the kernel does in the process's name, such as the loopback's receive path that
# runs inside a send.
cpu_time() {
  cat "/proc/$pid"/task/*/schedstat 2>/dev/null | awk '{ sum += $1 } END { printf "%.0f ", sum }'
  sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }'
}

# SECONDS CONNECTIONS DEPTH [wrapper...]: loads the server and prints wrk's totals.
load() {
  local seconds=$1 connections=$2 depth=$3 output
  shift 3
  # shellcheck disable=SC2086 # words, not one
  output=$("$@" taskset -c "$CLIENT_CPU" wrk -t1 -c"$connections" -d"${seconds}s" --timeout 10s $WRK_OPTIONS \
    -s bench/wrk.lua "http://127.0.0.1:$port/plaintext" -- "$depth" 2>&1) || fail "wrk failed:"$'\n'"$output"
  [[ $output =~ TOTALS\ requests=[1-9][0-9]*\ .*\ socket_errors=0\ bad_status=0 ]] ||
    fail "wrk did not get its answers:"$'\n'"$output"
  echo "${BASH_REMATCH[0]}"
}

record() { # ROUND SCENARIO CONNECTIONS SERVER, and then METRIC VALUE a line on standard input
  awk -v row="$1\t$2\t$3\t$4" '{ print row "\t" $1 "\t" $2 }' >>"$results"
}

measure() { # ROUND SCENARIO CONNECTIONS SERVER
  local depth=1 before after totals
  [[ $2 == pipelined ]] && depth=$DEPTH
  start "$4"
  load "$WARMUP" "$3" "$depth" >/dev/null
  before=$(cpu_time)
  totals=$(load "$DURATION" "$3" "$depth")
  after=$(cpu_time)
  awk -v ticks="$(getconf CLK_TCK)" -v depth="$depth" '{
    gsub(/[a-z0-9_]+=/, "") # before: $1 ns, $2 ticks; after: $3, $4; TOTALS: $6 requests, $7 us, $8 p50, $9 p99
    ns = $3 - $1; coarse = ($4 - $2) * 1e9 / ticks
    if (coarse - ns > 3e9 / ticks) { # a thread has ended
      print "bench.sh: threads ended while measuring: CPU time to the tick only" > "/dev/stderr"
      ns = coarse
    }
    printf "requests %d\nseconds %.6f\nrequests_per_second %.0f\n", $6, $7 / 1e6, $6 / $7 * 1e6
    printf "cpu_us_per_request %.4f\nbusy %.3f\n", ns / 1e3 / $6, ns / 1e3 / $7
    if (depth == 1) printf "p50_us %d\np99_us %d\n", $8, $9 # why not of a batch: bench/README.md
  }' <<<"$before $after $totals" | record "$@"
  # In a pass of its own: being counted costs time.
  if [[ $tracer != none ]]; then
    system_calls "$3" "$depth" | record "$@"
  fi
  stop
}

system_calls() { # CONNECTIONS DEPTH
  local totals counted tracing
  if [[ $tracer == perf ]]; then
    totals=$(load 1 "$1" "$2" perf stat -x ';' -o "$scratch/calls" -e raw_syscalls:sys_enter -p "$pid" --)
    counted=$(awk -F ';' '/raw_syscalls/ { print $1 }' "$scratch/calls")
  else
    strace -qq -c -f -U calls,name -o "$scratch/calls" -p "$pid" &
    tracing=$!
    until grep -q '^TracerPid:.*[1-9]' "/proc/$pid/status"; do sleep 0.05; done
    totals=$(load 1 "$1" "$2")
    kill -INT "$tracing"
    wait "$tracing" || true
    counted=$(awk '$2 == "total" { print $1 }' "$scratch/calls")
  fi
  [[ $counted =~ ^[0-9]+$ ]] || fail "$tracer counted no system calls: $(<"$scratch/calls")"
  awk -v counted="$counted" '{ sub(/.*requests=/, ""); printf "system_calls_per_request %.3f\n", counted / $1 }' \
    <<<"$totals"
}

resident() { # bytes; summed up by the kernel when asked, where VmRSS may lag by some hundred KiB
  awk '$1 == "Rss:" { print $2 * 1024 }' "/proc/$pid/smaps_rollup"
}

measure_idle() { # ROUND SERVER
  local before after ready=
  start "$2"
  before=$(resident)
  coproc bench/target/release/bench-idle "$port" "$IDLE"
  local client=$COPROC_PID input=${COPROC[1]}
  read -r -t 120 ready <&"${COPROC[0]}" || true
  [[ $ready == "ready $IDLE" ]] || fail "$2 does not hold $IDLE idle connections"
  sleep 1 # for what the server does when it has a moment
  after=$(resident)
  exec {input}>&- # the client ends with its input
  wait "$client" || fail "bench-idle failed"
  echo "idle_bytes $(((after - before) / IDLE))" | record "$1" idle "$IDLE" "$2"
  stop
}

if [[ $build == yes ]]; then
  cargo build --release --locked --manifest-path bench/Cargo.toml --target-dir bench/target
  [[ " ${servers[*]} " != *' kiang '* ]] || cargo build --release --target-dir target
fi

mkdir -p target/bench
results=target/bench/$(date -u +%Y%m%d-%H%M%S).tsv
{
  echo "# $(date -u +%FT%TZ), $(git describe --always --dirty 2>/dev/null || echo 'no revision'), Linux $(uname -r)"
  echo "#$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2), $(nproc) CPUs, load $(cut -d' ' -f1-3 /proc/loadavg)"
  echo "# $ROUNDS rounds of $DURATION s; server on CPU $SERVER_CPU, wrk on $CLIENT_CPU; system calls: $tracer"
  printf 'round\tscenario\tconnections\tserver\tmetric\tvalue\n'
} | tee "$results" | grep '^#'

for ((round = 1; round <= ROUNDS; round++)); do
  # Each server takes each place in the order once in a while.
  first=$(((round - 1) % ${#servers[@]}))
  turn=("${servers[@]:first}" "${servers[@]:0:first}")
  for scenario in "${scenarios[@]}"; do
    [[ ! -t 2 ]] || printf '\rround %d of %d, %-10s' "$round" "$ROUNDS" "$scenario" >&2
    if [[ $scenario == idle ]]; then
      # Memory is the same in every round.
      ((round > 1)) || for server in "${turn[@]}"; do measure_idle "$round" "$server"; done
      continue
    fi
    for connections in $CONNECTIONS; do
      for server in "${turn[@]}"; do measure "$round" "$scenario" "$connections" "$server"; done
    done
  done
done
[[ ! -t 2 ]] || printf '\r%40s\r' '' >&2
awk -F '\t' -f bench/report.awk "$results"
echo
echo "every measurement: $results"
