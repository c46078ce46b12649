#!/usr/bin/env bash
# The cart mix on Redis 7 (append-only file, synced always) and on a Pannier replica, one after the
# other in one run, on this machine. See README.md for what is asked and how it is counted.
set -euo pipefail

pannier=${PANNIER:-"$(dirname "$0")/../../target/release/pannier"}
carts=${CARTS:-1000000}
seconds=${RUN_SECONDS:-30}
warm_up=${WARM_UP:-10}
port=${REDIS_PORT:-17001}
streams=${STREAMS:-1}

for program in redis-server redis-cli redis-benchmark "$pannier"; do
  command -v "$program" >/dev/null || { echo "not found: $program" >&2; exit 2; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/pannier-peers.XXXXXX")
server=
loads=()
clean_up() {
  for process in "${loads[@]}" $server; do kill "$process" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap clean_up EXIT

ask() { redis-cli -p "$port" "$@"; }

# CPU seconds of the processes, user and system; of one that has ended, none.
cpu() {
  for process in "$@"; do cat "/proc/$process/stat" 2>/dev/null || true; done |
    sed 's/.*) //' | awk '{ ticks += $12 + $13 } END { printf "%.2f", ticks / 100 }'
}

# Calls of the three commands so far: HINCRBY, HDEL, HGETALL.
calls() {
  ask info commandstats | tr -d '\r' | awk -F'[:=,]' '
    $1 == "cmdstat_hincrby" { add = $3 }
    $1 == "cmdstat_hdel" { remove = $3 }
    $1 == "cmdstat_hgetall" { read = $3 }
    END { printf "%d %d %d", add, remove, read }'
}

start_redis() {
  mkdir -p "$work/redis"
  redis-server --port "$port" --bind 127.0.0.1 --dir "$work/redis" --save "" --appendonly yes \
    --appendfsync always --no-appendfsync-on-rewrite no --auto-aof-rewrite-percentage 0 \
    >"$work/redis.log" 2>&1 &
  server=$!
  until [ "$(ask ping 2>/dev/null)" = PONG ]; do
    kill -0 "$server" 2>/dev/null || { cat "$work/redis.log" >&2; exit 1; }
  done
}

# Five lines in each cart.
fill_redis() {
  local script="for cart = ARGV[1], ARGV[2] - 1 do
    redis.call('HSET', string.format('cart:%012d', cart), 'sku:000000000000', 1,
      'sku:000000000001', 1, 'sku:000000000002', 1, 'sku:000000000003', 1, 'sku:000000000004', 1)
  end"
  for ((from = 0; from < carts; from += 10000)); do
    local to=$((from + 10000 < carts ? from + 10000 : carts))
    ask eval "$script" 0 "$from" "$to" >/dev/null
  done
}

# One closed loop of redis-benchmark: connections, pipeline, requests (0: for ever), name, command.
loop() {
  local connections=$1 pipeline=$2 requests=$3 name=$4
  shift 4
  local long=(-n "$requests")
  [ "$requests" = 0 ] && long=(-n 1000000 -l)
  redis-benchmark -p "$port" -c "$connections" -P "$pipeline" -r "$carts" "${long[@]}" --csv "$@" \
    >"$work/$name.csv" 2>/dev/null &
  loads+=($!)
}

# All three loops share one server that answers in turns, so their connections share out the mix:
# 32 + 6 + 26 of 64. The last three arguments are the requests of each.
loops() {
  loads=()
  loop 32 "$1" "$2" add HINCRBY cart:__rand_int__ sku:__rand_int__ 1
  loop 6 "$1" "$3" remove HDEL cart:__rand_int__ sku:000000000003
  loop 26 "$1" "$4" read HGETALL cart:__rand_int__
}

# Sets elapsed, adds, removes, reads, server_cpu and client_cpu: of the next so many seconds.
count() {
  local begun before after from to
  from=$(cpu "$server") to=$(cpu "${loads[@]}")
  read -ra before <<<"$(calls)"
  begun=$EPOCHREALTIME
  sleep "$1"
  read -ra after <<<"$(calls)"
  elapsed=$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
  server_cpu=$(awk -v a="$from" -v b="$(cpu "$server")" 'BEGIN { print b - a }')
  client_cpu=$(awk -v a="$to" -v b="$(cpu "${loads[@]}")" 'BEGIN { print b - a }')
  adds=$((after[0] - before[0])) removes=$((after[1] - before[1])) reads=$((after[2] - before[2]))
}

# The mix with 64 connections and that many in the pipeline of each; a line for the table.
mix_redis() {
  local pipeline=$1
  loops "$pipeline" 0 0 0
  count "$warm_up"
  kill "${loads[@]}"
  wait "${loads[@]}" 2>/dev/null || true
  # Loops that end tell their latencies; so many requests that all three take about as long.
  local each
  read -ra each <<<"$(awk -v a="$adds" -v m="$removes" -v r="$reads" -v e="$elapsed" \
    -v s="$seconds" 'BEGIN { f = s / e * 1.3; print int(a * f), int(m * f), int(r * f) }')"
  loops "$pipeline" "${each[@]}"
  sleep 1
  count "$seconds"
  wait "${loads[@]}"
  loads=()
  # Columns of the second line: test, rps, avg, min, p50, p95, p99, max, in ms.
  local worst
  worst=$(for name in add remove read; do tail -n 1 "$work/$name.csv"; done | tr -d '"' |
    awk -F, '{ if ($5 > p50) p50 = $5; if ($7 > p99) p99 = $7 }
      END { printf "%d %d", p50 * 1000, p99 * 1000 }')
  awk -v a="$adds" -v m="$removes" -v r="$reads" -v e="$elapsed" -v s="$server_cpu" \
    -v c="$client_cpu" -v w="$worst" -v f="$((64 * pipeline))" 'BEGIN {
      n = a + m + r; split(w, us, " ")
      printf "%d %.0f %.0f %.2f %.2f %d %d %.0f/%.0f/%.0f\n", f, n / e, n / s, s * 1e6 / n,
        c * 1e6 / n, us[1], us[2], 100 * a / n, 100 * m / n, 100 * r / n }'
}

echo "Pannier: $carts carts, $seconds s each" >&2
"$pannier" bench wire --only mix --carts "$carts" --seconds "$seconds" --warm-up "$warm_up" \
  --streams "$streams" --dir "$work/pannier" --json >"$work/pannier.json"
rm -rf "$work/pannier"
awk -F'[:,]' '
  { gsub(/[ "\[\]]/, "") }
  $1 == "in_flight" { f = $2 }
  $1 == "ops_per_second" { rate = $2 }
  $1 == "p50_us" { p50 = $2 }
  $1 == "p99_us" { p99 = $2 }
  $1 == "server_cpu_us" { getline; server = $1 + 0 }
  $1 == "client_cpu_us" { client = $2 }
  $1 == "ops_per_server_core_second" {
    printf "%d %.0f %.0f %.2f %.2f %d %d 50/10/40\n", f, rate, $2, server, client, p50, p99
  }' "$work/pannier.json" >"$work/pannier.rows"

echo "Redis: $carts carts, $seconds s each" >&2
start_redis
fill_redis
for pipeline in 1 16; do mix_redis "$pipeline" >>"$work/redis.rows"; done

echo "$(redis-server --version | awk '{ print $2, $3 }'), $("$pannier" --version), $carts carts"
line='%-9s %-9s %10s %14s %10s %10s %8s %8s %9s\n'
# shellcheck disable=SC2059
printf "$line" in\ flight "" ops/s ops/core-s server\ us client\ us p50\ us p99\ us mix
paste -d' ' "$work/pannier.rows" "$work/redis.rows" | awk '{
  row = "%-9s %-9s %10s %14s %10s %10s %8s %8s %9s\n"
  printf row, $1, "pannier", $2, $3, $4, $5, $6, $7, $8
  printf row, $9, "redis", $10, $11, $12, $13, $14, $15, $16
  printf "%-9s %-9s %10.2f %14.2f\n", "", "ratio", $2 / $10, $3 / $11
}'
