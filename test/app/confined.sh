# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A server binds as root, drops to nobody, enters a chroot, installs a seccomp filter that kills for every call that
# shim/seccomp.def does not list, then serves. What its main thread has given up, its keeper has given up. A server whose
# port another holds when it does all that takes it when it is free.
lab_need python3 nc
server=$BUILD/test/app/confined/server
[ -x "$server" ] || lab_skip "test/app/confined/server is not built"
lab_init
mkdir "$LAB_TMP/root"
cat >"$LAB_TMP/client.py" <<'END'
import socket, sys, time
for i in range(int(sys.argv[1])):
    s = socket.create_connection(("10.9.0.2", 8000), 2)
    for n in (1, 100, 4000):
        s.sendall(b"x" * n)
        got = b""
        while len(got) < n:
            got += s.recv(n - len(got)) or sys.exit("end of file")
    s.close()
    if i == 0:
        time.sleep(1.1)		# the keeper's turn, and a look at the link
END
# thread NAME FIELD: of /proc/PID/task/*/status
thread()
{
	local t

	for t in /proc/"$1"/task/*; do
		[ "$(cat "$t/comm" 2>/dev/null)" = "$2" ] && awk -v "f=$3:" '$1 == f { print $2 }' "$t/status"
	done
}
confined()
{
	lab_make af_packet	# with the peer's offloads: 4000 bytes come in one piece, larger than a slot
	: >"$LAB_TMP/fastnet.log"
	under_fastnet "$server" 8000 "$@"
	await lab_exec_client python3 "$LAB_TMP/client.py" 1 || fail "$*: no answer"
	lab_exec_client python3 "$LAB_TMP/client.py" 30 || fail "$*: the service ends"
	kernel_has_no_connection 8000
}
quit()
{
	lab_exec_client python3 -c 'import socket; socket.create_connection(("10.9.0.2", 8000), 2).sendall(b"quit")'
	lab_await_exit "$LAB_SERVER_PID" 5 || fail "$*: it does not end"
	wait "$LAB_SERVER_PID" || fail "$*: its status is $?"
}
for steps in "chroot=$LAB_TMP/root nobody filter=all" "nobody capset filter=serve" "raw filter=all" "nobody tsync=all"; do
	# shellcheck disable=SC2086
	confined $steps
	for field in Uid CapEff Seccomp NoNewPrivs; do
		for t in fastnet-keeper; do
			[ "$(thread "$LAB_SERVER_PID" server $field)" = "$(thread "$LAB_SERVER_PID" $t $field)" ] ||
				fail "$steps: $t has $field $(thread "$LAB_SERVER_PID" $t $field)"
		done
	done
	quit "$steps"
done

# Another has the port meanwhile.
lab_make af_packet
lab_offloads off
: >"$LAB_TMP/fastnet.log"
under_fastnet "$server" 8001 nobody
holder=$LAB_SERVER_PID
await lab_exec_client nc -z -w1 "$LAB_SERVER_IP" 8001 || fail "the first server does not answer"
under_fastnet "$server" 8000 "chroot=$LAB_TMP/root" nobody
await grep -q "held by PID $holder" "$LAB_TMP/fastnet.log" || fail "the second server was not told who holds the port"
kill "$holder"
await lab_exec_client python3 "$LAB_TMP/client.py" 1 || fail "the port was not taken out of a chroot"
quit "chroot while the port is held"
