#!/usr/bin/env bash
# Measures what a request costs the server, beside the peers and in one run. What it means: bench/README.md.
set -euo pipefail

usage() {
  cat <<'HELP'
usage: scripts/bench.sh [option]... [scenario]...

Builds Kiang and the servers of bench/, starts all of them on one core, loads them in turn in slices, round after
round, and prints for each server the median of the rounds with its quartiles.

scenarios (default: all)
  saturated    GET /plaintext, one request at a time on each connection
  pipelined    GET /plaintext, DEPTH requests at a time on each connection
  json         GET /json, one request at a time on each connection
  rate         GET /plaintext at each of RATES, and 1000/s on 1000 connections, in each of SPACINGS
  idle         resident memory of an idle keep-alive connection

options
  --server NAME=COMMAND  one more server, after those of SERVERS; {port} and {cpu} in COMMAND are replaced. It listens
                         on 127.0.0.1:{port} and answers GET /plaintext and /json like the others. May be repeated.
  --no-build             takes the binaries that are there
  --report FILE          only prints the tables of an earlier run, from its file in target/bench/
  --help

environment
  SERVERS      which, in order             (floor epoll may_minihttp hyper actix-web axum kiang)
  SCENARIOS    instead of arguments        (saturated pipelined json rate idle)
  ROUNDS       how often                   (5)
  SLICE        seconds of each slice       (1)
  WARMUP       seconds of load before it   (0.2)
  CONNECTIONS  that are loaded             (64)
  DEPTH        requests that are pipelined (16)
  RATES        requests a second           (1000 10000 30000)
  SPACINGS     how they are spread         (even poisson bursts)
  IDLE         idle connections            (10000)
  SERVER_CPU   where the servers run       (0)
  CLIENT_CPU   where the generator spins   (1)
  REFUSE       0: slices that are refused count all the same; to try things out on a busy machine
  WRK2         path of a wrk2: runs it beside the bursts, 12 s for each server, as a check

Needs cargo and util-linux (taskset, setpriv); perf or strace to count system calls. The measurements go to
target/bench/.
HELP
}

cd "$(dirname "$0")/.."

build=yes
arguments=()
for argument; do
  case $argument in
    --help) usage && exit ;;
    --no-build) build=no ;;
    *) arguments+=("$argument") ;;
  esac
done

for tool in cargo taskset setpriv; do
  command -v "$tool" >/dev/null || { echo "bench.sh: $tool is not installed" >&2 && exit 1; }
done

if [[ $build == yes ]]; then
  cargo build --release --locked --manifest-path bench/Cargo.toml --target-dir bench/target
  cargo build --release --locked --target-dir target
fi
exec bench/target/release/bench-measure "${arguments[@]}"
