#!/usr/bin/env bash
# Claims of one hot stock, a unit each, once for each op id and never below zero: on Redis 7 (a
# script, append-only file synced always), on PostgreSQL (a function, synchronous commit) and on a
# Pannier replica, one after the other in one run, on this machine. See README.md.
set -euo pipefail

pannier=${PANNIER:-"$(dirname "$0")/../../target/release/pannier"}
seconds=${RUN_SECONDS:-30}
buyers=${BUYERS:-4000000}
redis_port=${REDIS_PORT:-17001}
postgres_port=${POSTGRES_PORT:-17010}
# PostgreSQL does not run as root.
postgres_user=${POSTGRES_USER:-nobody}

for program in redis-server redis-cli redis-benchmark postgres initdb pgbench psql "$pannier"; do
  command -v "$program" >/dev/null || { echo "not found: $program" >&2; exit 2; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/pannier-stock.XXXXXX")
chmod 755 "$work"
servers=()
clean_up() {
  for process in "${servers[@]}"; do kill -INT "$process" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap clean_up EXIT

# CPU seconds of all processes of these names, with what their children had that have ended.
cpu() {
  for process in $(pgrep -x "$1"); do cat "/proc/$process/stat" 2>/dev/null || true; done |
    sed 's/.*) //' | awk '{ ticks += $12 + $13 + $14 + $15 } END { printf "%.2f", ticks / 100 }'
}

sell_on_redis() {
  mkdir -p "$work/redis"
  redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work/redis" --save "" \
    --appendonly yes --appendfsync always --no-appendfsync-on-rewrite no \
    --auto-aof-rewrite-percentage 0 >"$work/redis.log" 2>&1 &
  servers+=($!)
  until [ "$(redis-cli -p "$redis_port" ping 2>/dev/null)" = PONG ]; do
    kill -0 "${servers[-1]}" 2>/dev/null || { cat "$work/redis.log" >&2; exit 1; }
  done
  redis-cli -p "$redis_port" set stock 1000000000 >/dev/null
  local script="if redis.call('SISMEMBER', 'claims', ARGV[1]) == 1 then return 2 end
    if tonumber(redis.call('GET', 'stock')) < 1 then return 0 end
    redis.call('DECR', 'stock') redis.call('SADD', 'claims', ARGV[1]) return 1"
  local sha from
  sha=$(redis-cli -p "$redis_port" script load "$script")
  from=$(cpu redis-server)
  # 64 connections with 16 in the pipeline of each: 1,024 in flight. Op ids are drawn, so a few
  # come twice, and are answered as a retry.
  timeout "$seconds" redis-benchmark -p "$redis_port" -c 64 -P 16 -r 2000000000 -n 1000000 -l \
    EVALSHA "$sha" 0 __rand_int__ >/dev/null 2>&1 || true
  local sold
  sold=$((1000000000 - $(redis-cli -p "$redis_port" get stock)))
  awk -v n="$sold" -v s="$seconds" -v a="$from" -v b="$(cpu redis-server)" \
    'BEGIN { printf "redis %.0f %.2f\n", n / s, (b - a) * 1e6 / n }'
  kill -INT "${servers[-1]}"
}

postgres_as() {
  if [ "$(id -u)" = 0 ]; then runuser -u "$postgres_user" -- "$@"; else "$@"; fi
}

sell_on_postgres() {
  mkdir "$work/pg"
  [ "$(id -u)" = 0 ] && chown "$postgres_user" "$work/pg"
  (cd "$work/pg" && postgres_as initdb -D "$work/pg/data" -A trust -U postgres) >"$work/pg.log"
  (cd "$work/pg" && postgres_as postgres -D "$work/pg/data" -p "$postgres_port" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories="$work/pg" -c shared_buffers=1GB \
    -c max_connections=100 -c max_wal_size=4GB -c checkpoint_timeout=30min) 2>"$work/pg.err" &
  servers+=($!)
  local ask=(psql -h 127.0.0.1 -p "$postgres_port" -U postgres -qAt)
  until "${ask[@]}" -c 'select 1' >/dev/null 2>&1; do
    kill -0 "${servers[-1]}" 2>/dev/null || { cat "$work/pg.err" >&2; exit 1; }
  done
  "${ask[@]}" <<'SQL'
create table stock(item int primary key, units bigint not null check (units >= 0))
  with (fillfactor = 50);
create table claim(item int, op bigint, primary key (item, op));
insert into stock values (0, 1000000000);
create function claim(i int, o bigint) returns int language plpgsql as $$
begin
  insert into claim values (i, o) on conflict do nothing;
  if not found then return 2; end if;
  update stock set units = units - 1 where item = i and units >= 1;
  if not found then delete from claim where item = i and op = o; return 0; end if;
  return 1;
end $$;
SQL
  printf '%s\n' '\set op random(1, 1000000000000)' 'select claim(0, :op);' >"$work/claim.sql"
  local from sold
  from=$(cpu postgres)
  pgbench -h 127.0.0.1 -p "$postgres_port" -U postgres -n -j 2 -M prepared -c 64 -T "$seconds" \
    -f "$work/claim.sql" postgres >/dev/null 2>&1
  local to
  to=$(cpu postgres)
  sold=$("${ask[@]}" -c 'select 1000000000 - units from stock')
  awk -v n="$sold" -v s="$seconds" -v a="$from" -v b="$to" \
    'BEGIN { printf "postgresql %.0f %.2f\n", n / s, (b - a) * 1e6 / n }'
  pkill -INT -f "$work/pg/data"
}

sell_on_pannier() {
  "$pannier" flash-sale --regions 1 --claims --units "$buyers" --buyers "$buyers" \
    --in-flight 1024 --lost-acks 0 --directory "$work/pannier" --json 2>/dev/null |
    awk -F'[:,]' '{ gsub(/[ "]/, "") }
      $1 == "first_answers_per_second" { rate = $2 }
      $1 == "cpu_us_per_buyer" { printf "pannier %.0f %.2f\n", rate, $2 }'
}

{ sell_on_redis; sell_on_postgres; sell_on_pannier; } >"$work/rows"
echo "$(redis-server --version | awk '{ print $2, $3 }'), $(postgres_as postgres --version),"
echo "$("$pannier" --version); one hot stock, $seconds s, or $buyers claims"
awk '{ printf "%-11s %10s claims/s %8s us of CPU a claim\n", $1, $2, $3; rate[$1] = $2; us[$1] = $3 }
  END { for (peer in rate) if (peer != "pannier")
    printf "pannier / %-11s %6.2f in claims/s, %6.2f a core-second\n", peer,
      rate["pannier"] / rate[peer], us[peer] / us["pannier"] }' "$work/rows"
