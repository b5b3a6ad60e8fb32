# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What bench/compare measures: for each row a server, a client, the figures, and the bytes that an operation carries at
# least, by which a side of Fastnet proves that its stack did the work. Sourced after sides.sh.

ROWS="rr-64 rr-1k crr stream-in stream-out nginx-return nginx-1k nginx-ab
redis-1 redis-50 redis-1-p16 redis-50-p16 fdcost start"

row_title()
{
	case $1 in
	rr-64) echo "request/response, 64 B" ;;
	rr-1k) echo "request/response, 1 KiB" ;;
	crr) echo "connections, 64 B each way" ;;
	stream-in) echo "stream to the server" ;;
	stream-out) echo "stream from the server" ;;
	nginx-return) echo "nginx, wrk -c64, return 200" ;;
	nginx-1k) echo "nginx, wrk -c64, 1 KiB file" ;;
	nginx-ab) echo "nginx, ab -c32, no keep-alive" ;;
	redis-1) echo "redis GET, 1 connection" ;;
	redis-50) echo "redis GET, 50 connections" ;;
	redis-1-p16) echo "redis GET, 1, pipeline 16" ;;
	redis-50-p16) echo "redis GET, 50, pipeline 16" ;;
	*) return 1 ;;
	esac
}

# The figures of a row, FIELD:UNIT:high|low (which is better).
row_figures()
{
	case $1 in
	rr-*) echo "p50:µs:low p999:µs:low" ;;
	stream-*) echo "rate:Gb/s:high" ;;
	*) echo "rate:/s:high" ;;
	esac
}

# Bytes of payload an operation has at least.
row_bytes()
{
	case $1 in
	rr-64 | crr) echo 128 ;;
	rr-1k) echo 2048 ;;
	stream-*) echo 1 ;;
	nginx-1k) echo 1100 ;;
	nginx-*) echo 150 ;;
	redis-*) echo 20 ;;
	esac
}

nginx_conf()	# nginx_conf SIDE
{
	local dir=$LAB_TMP/$1

	mkdir -p "$LAB_TMP/www"
	chmod 755 "$LAB_TMP/www"
	head -c 1024 /dev/zero | tr '\0' x >"$LAB_TMP/www/1k"
	cat >"$dir/nginx.conf" <<-END
		user $(is_local "$1" && echo root || echo www-data);
		worker_processes 1;
		daemon off;
		pid $dir/nginx.pid;
		error_log $dir/error.log;
		events { worker_connections 4096; }
		http {
			access_log off;
			sendfile on;
			keepalive_requests 100000000;
			server {
				listen 80 backlog=4096;
				root $LAB_TMP/www;
				location = /hello { return 200 "hello\n"; }
			}
		}
	END
}

row_start()	# row_start ROW SIDE
{
	case $1 in
	rr-64 | crr) side_start "$2" 7000 "$BUILD/bench/server" 7000 64 ;;
	rr-1k) side_start "$2" 7000 "$BUILD/bench/server" 7000 1024 ;;
	stream-*) side_start "$2" 7000 "$BUILD/bench/server" 7000 "${1#stream-}" ;;
	nginx-*)
		nginx_conf "$2"
		side_start "$2" 80 nginx -c "$LAB_TMP/$2/nginx.conf"
		;;
	redis-*)
		side_start "$2" 6379 redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' \
			--appendonly no --dir "$LAB_TMP/$2" &&
			on_client redis-benchmark -h "$LAB_SERVER_IP" -q -t set -n 100 -c 1 >/dev/null
		;;
	esac
}

on_client()
{
	local run=()

	[ "$LAB_SIDE" != fabric ] || run=(env FASTNET_FABRIC=on FASTNET_LOG=none "$BUILD/tools/fastnet-run")
	lab_exec_client taskset -c "$CLIENT_CORE" timeout $((SECONDS_EACH + 20)) "${run[@]}" "$@"
}

client_wrk()
{
	on_client wrk -t1 -c64 -d"${SECONDS_EACH}s" "http://$LAB_SERVER_IP/$1" >"$LAB_TMP/client" 2>&1 || return 1
	if grep -qE 'Socket errors|Non-2xx' "$LAB_TMP/client"; then
		grep -E 'Socket errors|Non-2xx' "$LAB_TMP/client" >&2
		return 1
	fi
	awk '/requests in/ { ops = $1 } /^Requests\/sec/ { rate = $2 } END { printf "ops=%s rate=%s\n", ops, rate }' \
		"$LAB_TMP/client"
}

client_ab()
{
	on_client ab -q -c 32 -t "$SECONDS_EACH" -n 1000000 "http://$LAB_SERVER_IP/hello" >"$LAB_TMP/client" 2>&1 || {
		tail -n 2 "$LAB_TMP/client" >&2
		return 1
	}
	if ! grep -q '^Failed requests: *0$' "$LAB_TMP/client" || grep -q '^Non-2xx' "$LAB_TMP/client"; then
		grep -E '^(Failed|Non-2xx)|Connect:' "$LAB_TMP/client" >&2
		return 1
	fi
	awk '/^Complete requests/ { ops = $3 } /^Requests per second/ { rate = $4 }
		END { printf "ops=%s rate=%s\n", ops, rate }' "$LAB_TMP/client"
}

# client_redis CONNECTIONS PIPELINE GUESS: it runs a number of requests, not a time.
client_redis()
{
	local n

	n=$(awk -v r="$3" -v s="$SECONDS_EACH" 'BEGIN { printf "%d\n", r * s }')
	on_client redis-benchmark -h "$LAB_SERVER_IP" --csv -t get -c "$1" -P "$2" -n "$n" >"$LAB_TMP/client" 2>&1 || return 1
	if grep -qi error "$LAB_TMP/client"; then
		cat "$LAB_TMP/client" >&2
		return 1
	fi
	awk -F'"' -v n="$n" '$2 == "GET" { printf "ops=%d rate=%s\n", n, $4 }' "$LAB_TMP/client"
}

# One run of the client on the side in use: prints ops= and the figures; fails with a text if anything failed.
row_client()
{
	case $1 in
	rr-64) on_client "$BUILD/bench/rr" "$LAB_SERVER_IP" 7000 64 "$SECONDS_EACH" ;;
	rr-1k) on_client "$BUILD/bench/rr" "$LAB_SERVER_IP" 7000 1024 "$SECONDS_EACH" ;;
	crr) on_client "$BUILD/bench/crr" "$LAB_SERVER_IP" 7000 32 "$SECONDS_EACH" ;;
	stream-*) on_client "$BUILD/bench/stream" "$LAB_SERVER_IP" 7000 "${1#stream-}" "$SECONDS_EACH" ;;
	nginx-return) client_wrk hello ;;
	nginx-1k) client_wrk 1k ;;
	nginx-ab) client_ab ;;
	redis-1) client_redis 1 1 15000 ;;
	redis-50) client_redis 50 1 60000 ;;
	redis-1-p16) client_redis 1 16 150000 ;;
	redis-50-p16) client_redis 50 16 500000 ;;
	esac
}
