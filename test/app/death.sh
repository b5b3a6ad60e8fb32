# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Members of a shared stack are killed at random moments under load, many of them while they hold its lock: the others'
# connections go on, byte for byte (a death may reset one that it was just changing), every killed one's connection ends,
# and the counts return to where they were.
lab_need python3
lab_make af_packet
lab_offloads off
kills=60
[ -z "$LONG" ] || kills=1000
under_fastnet python3 "$TOP/test/app/death/server.py"
lab_await_port 8000 || fail "the server does not answer"
pid=$LAB_SERVER_PID
cat >"$LAB_TMP/tell" <<-END
	ss -Htno dport = :8000 | tr -s ' '
	ip netns exec $LAB_SERVER_NS $STAT $pid | grep -E '(tcp|lock|images|polls|[rt]x)_'
END
lab_exec_client timeout 280 python3 "$TOP/test/app/death/client.py" $kills 10.9.0.2 bash "$LAB_TMP/tell" >"$LAB_TMP/said" 2>&1 ||
	fail "the client says: $(cat "$LAB_TMP/said")"
cat "$LAB_TMP/said"
kernel_has_no_connection 8000
killed=$(awk '{ print $2 }' "$LAB_TMP/said") lost=$(awk '{ print $4 + $6 }' "$LAB_TMP/said")
at_least "$pid" images_died $((killed * 9 / 10))
inherited=$(counter "$pid" lock_inherited)
echo "under the lock: $inherited"
[ "$lost" -le $((2 * inherited)) ] || fail "$lost connections reset by $inherited deaths under the lock"
alone()
{
	[ "$(lab_exec_server "$STAT" "$pid" | awk '$2 == "tcp_sockets" { print $1 }')" = 1 ]
}
await alone || fail "sockets are left, where the listener should be alone: $(lab_exec_server "$STAT" "$pid")"
