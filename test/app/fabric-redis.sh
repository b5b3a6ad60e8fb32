# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# redis and its benchmark through shared memory, with no port: in dialogue, pipelined, large values, BGSAVE; programs on the
# kernel reach the same server; a Fastnet client reaches a server on the kernel; another user's client is served too.
lab_need redis-server redis-cli redis-benchmark setpriv
fabric_make
chmod 755 "$LAB_TMP"
fabric_serve redis-server --port 6379 --bind 127.0.0.1 --dir "$LAB_TMP" --save ''
cli()
{
	on_fabric redis-cli "$@"
}
await lab_exec_client redis-cli ping || fail "no answer through the kernel"
pid=$LAB_SERVER_PID
before=$(counter "$pid" tcp_passive_open)
[ "$(cli ping)" = PONG ] || fail "no answer"
[ "$(counter "$pid" tcp_passive_open)" -gt "$before" ] || fail "redis-cli went through the kernel: $(cat "$LAB_TMP/fastnet.log")"
"$STAT" "$pid" >"$LAB_TMP/stat" || fail "fastnet-stat: no report"
grep -q '^nic fabric: up' "$LAB_TMP/stat" || fail "fastnet-stat does not show the fabric: $(head -n 5 "$LAB_TMP/stat")"
! grep -q "every socket is the kernel's" "$LAB_TMP/stat" || fail "fastnet-stat says that nothing is accelerated"
for args in "-n 5000 -c 50 -P 1" "-n 500 -c 1 -P 1" "-n 5000 -c 50 -P 16"; do
	# shellcheck disable=SC2086
	on_fabric timeout 60 redis-benchmark -q -t get,set,lrange_100 $args || fail "redis-benchmark $args"
done
[ "$(reason_of FABRIC redis-benchmark)" -ge 100 ] || fail "the benchmark's connections: $(cat "$LAB_TMP/fastnet.log")"
head -c 3000000 /dev/urandom | base64 -w0 >"$LAB_TMP/value"
cli -x set big <"$LAB_TMP/value" >/dev/null
cli get big | head -c "$(stat -c %s "$LAB_TMP/value")" | cmp - "$LAB_TMP/value" || fail "a large value came back damaged"
lab_exec_client redis-cli get big | head -c "$(stat -c %s "$LAB_TMP/value")" | cmp - "$LAB_TMP/value" ||
	fail "the value that the kernel's side gives is another"
cli bgsave >/dev/null
await sh -c "ip netns exec $LAB_CLIENT_NS redis-cli info persistence | grep -q rdb_bgsave_in_progress:0" ||
	fail "BGSAVE does not end"
[ "$(cli ping)" = PONG ] || fail "no answer after BGSAVE"
chmod 644 "$LAB_TMP/fastnet.log"
[ "$(lab_exec_client setpriv --reuid=65534 --regid=65534 --clear-groups "$RUN" redis-cli ping)" = PONG ] ||
	fail "another user is not served"
cli shutdown nosave
lab_await_exit "$pid" 10 || fail "redis does not end"
lab_start_server redis-server --port 6379 --bind 127.0.0.1 --dir "$LAB_TMP" --save ''
await lab_exec_client redis-cli ping || fail "the kernel's redis does not come"
[ "$(cli ping)" = PONG ] || fail "a Fastnet client does not reach a server on the kernel"
[ "$(reason_of FABRIC_NOBODY redis-cli)" -ge 1 ] || fail "and does not say why"
