# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Members of a shared stack are killed at random moments under load, many of them while they hold its lock: the others'
# connections go on, byte for byte (a death may reset one that it was just changing), every killed one's connection ends,
# and the counts return to where they were, that of free buffers as well.
lab_need python3

alone()	# the listener is what is left
{
	[ "$(lab_exec_server "$STAT" "$pid" | awk '$2 == "tcp_sockets" { print $1 }')" = 1 ]
}

all_free()	# every buffer; after a connection, so that somebody counts them
{
	local all

	lab_exec_client nc -z -w 1 "$LAB_SERVER_IP" 8000 && await alone && all=$(counter "$pid" buffers) &&
		[ "$all" -gt 0 ] && [ "$(counter "$pid" buffers_free)" = "$all" ]
}

deaths()	# deaths KIND KILLS
{
	local killed lost inherited

	lab_make "$1"
	lab_offloads off
	under_fastnet python3 "$TOP/test/app/death/server.py"
	lab_await_port 8000 || fail "the server does not answer"
	pid=$LAB_SERVER_PID
	await all_free || fail "not every buffer is free at first: $(lab_exec_server "$STAT" "$pid" | grep buffers)"
	cat >"$LAB_TMP/tell" <<-TELL
		ss -Htno dport = :8000 | tr -s ' '
		ip netns exec $LAB_SERVER_NS $STAT $pid | grep -E '(tcp|lock|images|polls|[rt]x)_'
	TELL
	lab_exec_client timeout 280 python3 "$TOP/test/app/death/client.py" "$2" 10.9.0.2 bash "$LAB_TMP/tell" \
		>"$LAB_TMP/said" 2>&1 || fail "the client says: $(cat "$LAB_TMP/said")"
	cat "$LAB_TMP/said"
	kernel_has_no_connection 8000
	killed=$(awk '{ print $2 }' "$LAB_TMP/said") lost=$(awk '{ print $4 + $6 }' "$LAB_TMP/said")
	at_least "$pid" images_died $((killed * 9 / 10))
	inherited=$(counter "$pid" lock_inherited)
	echo "$1: under the lock: $inherited"
	[ "$lost" -le $((2 * inherited)) ] || fail "$lost connections reset by $inherited deaths under the lock"
	await alone || fail "sockets are left, where the listener should be alone: $(lab_exec_server "$STAT" "$pid")"
	await all_free || fail "buffers are lost: $(lab_exec_server "$STAT" "$pid" | grep buffers)"
	lab_stop_server || :
}

kills=60
[ -z "$LONG" ] || kills=1000
deaths af_packet $kills
deaths af_xdp $kills
deaths tap $kills
