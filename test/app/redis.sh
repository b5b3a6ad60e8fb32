# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# redis-server: benchmark with and without pipelining, a large value, BGSAVE (fork with live connections), the end.
lab_need redis-server redis-cli redis-benchmark
lab_make af_packet
lab_offloads off
under_fastnet redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --dir "$LAB_TMP" --save ''
cli()
{
	lab_exec_client redis-cli -h "$LAB_SERVER_IP" "$@"
}
await cli ping || fail "no answer"
pid=$(pgrep -P "$LAB_SERVER_PID" -x redis-server || echo "$LAB_SERVER_PID")
for args in "-c 50 -P 1" "-c 1 -P 1" "-c 50 -P 16"; do
	# shellcheck disable=SC2086
	timeout 60 ip netns exec "$LAB_CLIENT_NS" redis-benchmark -h "$LAB_SERVER_IP" -n 5000 -q -t get,set,lrange_100 $args ||
		fail "redis-benchmark $args"
done
head -c 3000000 /dev/urandom | base64 -w0 >"$LAB_TMP/value"
cli -x set big <"$LAB_TMP/value" >/dev/null
cli get big | head -c "$(stat -c %s "$LAB_TMP/value")" | cmp - "$LAB_TMP/value" || fail "a large value came back damaged"
cli bgsave >/dev/null
await sh -c "ip netns exec $LAB_CLIENT_NS redis-cli -h $LAB_SERVER_IP info persistence | grep -q rdb_bgsave_in_progress:0" ||
	fail "BGSAVE does not end"
[ "$(cli ping)" = PONG ] || fail "no answer after BGSAVE"
kernel_has_no_connection 6379
at_least "$pid" tcp_passive_open 10
at_least "$pid" tcp_bytes_in 3000000
cli shutdown nosave
lab_await_exit "$pid" 10 || fail "redis does not end"
