# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Members of a shared stack, each with a connection through shared memory, are killed at random moments under load, many of
# them while they hold its lock: the others' connections go on, byte for byte (a death may reset one that it was just
# changing), every killed one's connection ends, and the counts return to where they were: sockets, descriptors, mappings.
lab_need python3
fabric_make
kills=60
[ -z "$LONG" ] || kills=1000
fabric_serve python3 "$TOP/test/app/death/server.py"
lab_await_port 8000 || fail "the server does not answer"
pid=$LAB_SERVER_PID

# killed N: by a client process of its own
killed()
{
	on_fabric timeout 280 python3 "$TOP/test/app/death/client.py" "$1" 127.0.0.1 >"$LAB_TMP/said" 2>&1 ||
		fail "the client says: $(cat "$LAB_TMP/said")"
	cat "$LAB_TMP/said"
	lost=$((lost + $(awk '{ print $4 + $6 }' "$LAB_TMP/said"))) died=$((died + $(awk '{ print $2 }' "$LAB_TMP/said")))
	await alone || fail "sockets are left, where the listener should be alone: $(lab_exec_server "$STAT" "$pid")"
}
alone()
{
	[ "$(lab_exec_server "$STAT" "$pid" | awk '$2 == "tcp_sockets" { print $1 }')" = 1 ]
}
held()
{
	echo "$(find "/proc/$pid/fd" -mindepth 1 | wc -l) $(grep -c fastnet- "/proc/$pid/maps")"
}
as_before()
{
	[ "$(held)" = "$before" ]
}
lost=0 died=0
killed 10
before=$(held)
killed $kills
await as_before || fail "descriptors and mappings: $before, then $(held)"
[ "$(reason_of FABRIC python3)" -ge "$kills" ] || fail "not through shared memory"
at_least "$pid" images_died $((died * 9 / 10))
inherited=$(counter "$pid" lock_inherited)
echo "under the lock: $inherited"
[ "$lost" -le $((2 * inherited)) ] || fail "$lost connections reset by $inherited deaths under the lock"
