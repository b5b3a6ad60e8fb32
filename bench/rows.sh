# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What bench/compare measures: for each row a server, a client, the figures, and the bytes that an operation carries at
# least, by which a side of Fastnet proves that its stack did the work. Sourced after sides.sh.

ROWS="rr-64 rr-1k crr stream-in stream-out nginx-return nginx-1k nginx-ab
redis-1 redis-50 redis-1-p16 redis-50-p16 fdcost start"

# On one host: these with a core for each program, and again as one: and busy:; then those that are measured once.
LOCAL_ROWS="rr-64 udp-64 sockperf crr iperf3 stream-in stream-out nginx-return nginx-1k nginx-1k-cache nginx-ab
redis-1 redis-50 redis-set-50 redis-50-p16 memcached-50"
LOCAL_ONCE="rr-1k redis-1-p16 exec-rr first hold-1k hold-100k fdcost start"

row_list()
{
	local way row

	if [ -z "${LOCAL:-}" ]; then
		printf '%s\n' $ROWS
		return
	fi
	for way in '' one: busy:; do
		for row in $LOCAL_ROWS; do
			echo "$way$row"
		done
		[ -n "$way" ] || printf '%s\n' $LOCAL_ONCE
	done
}

row_title()
{
	case $1 in
	rr-64) echo "request/response, 64 B" ;;
	rr-1k) echo "request/response, 1 KiB" ;;
	udp-64) echo "the same by datagrams, 64 B" ;;
	sockperf) echo "sockperf ping-pong, 64 B" ;;
	crr) echo "connections, 64 B each way" ;;
	iperf3) echo "iperf3, one stream" ;;
	stream-in) echo "stream to the server" ;;
	stream-out) echo "stream from the server" ;;
	nginx-return) echo "nginx, wrk -c64, return 200" ;;
	nginx-1k) echo "nginx, wrk -c64, 1 KiB file" ;;
	nginx-1k-cache) echo "the same, open_file_cache" ;;
	nginx-ab) echo "nginx, ab -c32, no keep-alive" ;;
	redis-1) echo "redis GET, 1 connection" ;;
	redis-50) echo "redis GET, 50 connections" ;;
	redis-set-50) echo "redis SET, 50 connections" ;;
	redis-1-p16) echo "redis GET, 1, pipeline 16" ;;
	redis-50-p16) echo "redis GET, 50, pipeline 16" ;;
	memcached-50) echo "memcached -t 1, 50, memcaslap" ;;
	first) echo "fresh process, first connect" ;;
	exec-rr) echo "socat EXEC:cat,nofork, 64 B" ;;
	hold-1k) echo "1,000 idle connections" ;;
	hold-100k) echo "100,000 idle connections" ;;
	*) return 1 ;;
	esac
}

# Why a row cannot be run here; nothing: it can.
row_lacks()
{
	local tool tools=

	case $1 in
	sockperf | iperf3) tools=$1 ;;
	exec-rr) tools=socat ;;
	memcached-50) tools="memcached memcaslap" ;;
	hold-100k) hold_limit "$1" || echo "RLIMIT_NOFILE is $(ulimit -Hn)" ;;
	esac
	for tool in $tools; do
		command -v "$tool" >/dev/null || echo "$tool is not installed"
	done
}

# Which of SIDES a row has: the kernel's memory for connections is not ours to count.
row_sides()	# row_sides ROW SIDES
{
	[ "$1" != hold-100k ] && echo "$2" || echo fabric
}

# The figures of a row, FIELD:UNIT:high|low (which is better).
row_figures()
{
	case $1 in
	rr-* | udp-* | sockperf | exec-rr) echo "p50:µs:low p999:µs:low" ;;
	first) echo "first:µs:low" ;;
	hold-1k) echo "cpu:%:low arena:B:low" ;;
	hold-100k) echo "arena:B:low" ;;
	stream-* | iperf3) echo "rate:Gb/s:high" ;;
	*) echo "rate:/s:high" ;;
	esac
}

# Bytes of payload an operation has at least.
row_bytes()
{
	case $1 in
	rr-64 | udp-64 | crr | sockperf | first | hold-* | exec-rr) echo 128 ;;
	rr-1k) echo 2048 ;;
	stream-* | iperf3) echo 1 ;;
	memcached-50) echo 30 ;;
	nginx-1k*) echo 1100 ;;
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
				location = /cached {
					alias $LAB_TMP/www/1k;
					open_file_cache max=100;
					open_file_cache_valid 60s;
				}
			}
		}
	END
}

row_start()	# row_start ROW SIDE
{
	case $1 in
	rr-64 | crr | first) side_start "$2" 7000 "$BUILD/bench/server" 7000 64 ;;
	udp-64) side_start "$2" 7000 "$BUILD/bench/server" 7000 udp ;;
	hold-*)
		hold_limit "$1" || return
		side_start "$2" 7000 "${hold[@]}" "$BUILD/bench/server" 7000 64 $HOLD_PORTS
		;;
	sockperf) side_start "$2" 7000 sockperf server --tcp -i 0.0.0.0 -p 7000 ;;
	iperf3) side_start "$2" 5201 iperf3 --server ;;
	# a process a connection, which executes a program that has it as 0 and 1
	exec-rr) side_start "$2" 7000 socat TCP-LISTEN:7000,fork,reuseaddr,backlog=4096 EXEC:cat,nofork ;;
	memcached-50)
		side_start "$2" 11211 memcached -u "$(id -un)" -l 0.0.0.0 -p 11211 -t 1 -c 4096 -m 256
		;;
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

	[ "$LAB_SIDE" != fabric ] || run=(env FASTNET_LOG=none "$BUILD/tools/fastnet-run")
	lab_exec_client "${AS[@]}" taskset -c "$CLIENT_CORE" timeout $((SECONDS_EACH + 20)) "${run[@]}" "$@"
}

# Programs that wait for the answer, as most do: where another program wants the core, spinning is no client's business.
client_rr()	# client_rr BYTES [udp]
{
	on_client "$BUILD/bench/rr" "$LAB_SERVER_IP" 7000 "$1" "$SECONDS_EACH" ${2:-} ${PLACE:+block}
}

# sockperf prints half of a round trip.
client_sockperf()
{
	on_client sockperf ping-pong --tcp -i "$LAB_SERVER_IP" -p 7000 -m 64 -t "$SECONDS_EACH" >"$LAB_TMP/client" 2>&1 || {
		tail -n 2 "$LAB_TMP/client" >&2
		return 1
	}
	awk '{ gsub(/\033\[[0-9;]*m/, "") }
		/\[Valid Duration\]/ { for (i = 1; i <= NF; i++) if (sub(/^ReceivedMessages=/, "", $i)) n = $i + 0 }
		/percentile 50.000/ { p50 = 2 * $NF } /percentile 99.900/ { p999 = 2 * $NF }
		END { printf "ops=%d p50=%.2f p999=%.2f\n", n, p50, p999 }' "$LAB_TMP/client"
}

client_iperf3()
{
	on_client iperf3 --client "$LAB_SERVER_IP" --time "$SECONDS_EACH" --json >"$LAB_TMP/client" 2>&1 || {
		grep '"error"' "$LAB_TMP/client" >&2
		return 1
	}
	python3 -c 'import json, sys
s = json.load(sys.stdin)["end"]["sum_received"]
print("ops=%d rate=%.3f" % (s["bytes"], s["bits_per_second"] / 1e9))' <"$LAB_TMP/client"
}

# 9 of 10 requests are gets.
client_memcaslap()
{
	on_client memcaslap -s "$LAB_SERVER_IP:11211" -T 1 -c 50 -X 64 -t "${SECONDS_EACH}s" >"$LAB_TMP/client" 2>&1 || {
		tail -n 2 "$LAB_TMP/client" >&2
		return 1
	}
	if grep -q 'not connected' "$LAB_TMP/client"; then	# and then it goes on with fewer
		grep -m 1 'not connected' "$LAB_TMP/client" >&2
		return 1
	fi
	sed -nE 's/^Run time: .* Ops: ([0-9]+) TPS: ([0-9]+) .*/ops=\1 rate=\2/p' "$LAB_TMP/client"
}

# The median of twenty fresh processes.
client_first()
{
	local i

	for ((i = 0; i < 20; i++)); do
		on_client "$BUILD/bench/first" "$LAB_SERVER_IP" 7000 || return 1
	done | sort -n | awk '{ v[NR] = $1 } END { if (NR == 20) printf "ops=%d first=%.1f\n", NR, (v[10] + v[11]) / 2 }'
}

# Ports of the server, 4,500 connections each at most (stack.h: fabric_first).
HOLD_PORTS=32

# Sets hold: what lets a program have so many descriptors and sockets. False: this user may not.
hold_limit()	# hold_limit ROW
{
	local n=$1

	n=$((${n//[!0-9]/} * 1000 + 2000))
	hold=(prlimit --nofile=$n env FASTNET_MAX_TCP=$n)
	"${hold[@]}" true 2>/dev/null
}

client_hold()
{
	local run=("${hold[@]}")

	[ "$LAB_SIDE" != fabric ] || run+=(env FASTNET_LOG=none "$BUILD/tools/fastnet-run")
	lab_exec_client taskset -c "$CLIENT_CORE" timeout $((SECONDS_EACH + 60)) "${run[@]}" "$BUILD/bench/hold" \
		"$LAB_SERVER_IP" 7000 $HOLD_PORTS "$1" "$SECONDS_EACH" "${side_worker[$LAB_SIDE]}"
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

# redis_run get|set CONNECTIONS PIPELINE REQUESTS: prints requests a second.
redis_run()
{
	on_client redis-benchmark -h "$LAB_SERVER_IP" --csv -t "$1" -c "$2" -P "$3" -n "$4" >"$LAB_TMP/client" 2>&1 || return 1
	if grep -qi error "$LAB_TMP/client"; then
		cat "$LAB_TMP/client" >&2
		return 1
	fi
	awk -F'"' '$2 == "GET" || $2 == "SET" { print $4 }' "$LAB_TMP/client"
}

# client_redis get|set CONNECTIONS PIPELINE: it runs a number of requests, not a time; so many as a short run says.
client_redis()
{
	local n rate

	rate=$(redis_run "$1" "$2" "$3" $(($3 * 5000))) || return 1
	n=$(awk -v r="$rate" -v s="$SECONDS_EACH" 'BEGIN { printf "%d\n", r * s }')
	rate=$(redis_run "$1" "$2" "$3" "$n") || return 1
	echo "ops=$n rate=$rate"
}

# The figure FIELD of a client's line, which row_client prints.
figure()
{
	sed -nE "s/(^|.* )$1=([0-9.]+).*/\2/p" <<<"$2"
}

# One run of the client on the side in use: prints ops= and the figures; fails with a text if anything failed.
row_client()
{
	case $1 in
	rr-64 | exec-rr) client_rr 64 ;;
	rr-1k) client_rr 1024 ;;
	udp-64) client_rr 64 udp ;;
	sockperf) client_sockperf ;;
	iperf3) client_iperf3 ;;
	memcached-50) client_memcaslap ;;
	first) client_first ;;
	hold-1k) client_hold 1000 ;;
	hold-100k) client_hold 100000 ;;
	crr) on_client "$BUILD/bench/crr" "$LAB_SERVER_IP" 7000 32 "$SECONDS_EACH" ;;
	stream-*) on_client "$BUILD/bench/stream" "$LAB_SERVER_IP" 7000 "${1#stream-}" "$SECONDS_EACH" ;;
	nginx-return) client_wrk hello ;;
	nginx-1k) client_wrk 1k ;;
	nginx-1k-cache) client_wrk cached ;;
	nginx-ab) client_ab ;;
	redis-1) client_redis get 1 1 ;;
	redis-50) client_redis get 50 1 ;;
	redis-set-50) client_redis set 50 1 ;;
	redis-1-p16) client_redis get 1 16 ;;
	redis-50-p16) client_redis get 50 16 ;;
	esac
}
