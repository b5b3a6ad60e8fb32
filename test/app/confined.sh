# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A server binds as root, drops to nobody, enters a chroot, installs a seccomp filter that kills for every call that
# shim/seccomp.def does not list, then serves. What its main thread has given up, its keeper and DPDK's thread have given up. A server whose
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
	lab_make "$1"	# with the peer's offloads: 4000 bytes come in one piece, larger than a slot
	shift
	: >"$LAB_TMP/fastnet.log"
	under_fastnet "$server" 8000 "$@"
	await lab_exec_client python3 "$LAB_TMP/client.py" 1 || fail "$*: no answer"
	lab_exec_client python3 "$LAB_TMP/client.py" 20 || fail "$*: the service ends"
	kernel_has_no_connection 8000
}
# No process is left that serves the port.
lab_port_is_free()
{
	[ -z "$(ip netns pids "$LAB_SERVER_NS")" ]
}
# follows THREAD: it has given up what the server's has.
follows()
{
	local field

	for field in Uid CapEff Seccomp NoNewPrivs; do
		[ "$(thread "$LAB_SERVER_PID" server $field)" = "$(thread "$LAB_SERVER_PID" "$1" $field)" ] ||
			fail "$steps: $1 has $field $(thread "$LAB_SERVER_PID" "$1" $field)"
	done
	# all signals but SIGKILL, SIGSTOP and the two that are libc's own: no handler of the program runs in it
	[ "$1" != fastnet-keeper ] || [ "$(thread "$LAB_SERVER_PID" "$1" SigBlk)" = fffffffe7ffbfeff ] ||
		fail "$steps: $1 blocks $(thread "$LAB_SERVER_PID" "$1" SigBlk)"
}
quit()
{
	lab_exec_client python3 -c 'import socket; socket.create_connection(("10.9.0.2", 8000), 2).sendall(b"quit")'
	lab_await_exit "$LAB_SERVER_PID" 5 || fail "$*: it does not end"
	wait "$LAB_SERVER_PID" || fail "$*: its status is $?"
}
for steps in "chroot=$LAB_TMP/root nobody filter=all" "nobody capset filter=serve" "raw filter=all" "nobody tsync=all"; do
	# shellcheck disable=SC2086
	confined af_packet $steps
	follows fastnet-keeper
	[ -z "$(thread "$LAB_SERVER_PID" eal-intr-thread Uid)" ] || fail "$steps: DPDK has a thread"
	quit "$steps"
done
# The fabric beside the port: with what it takes allowed, a process of the host is met and served, and its death is found
# out; without, the kernel serves it, and the port is served on.
cat >"$LAB_TMP/near.py" <<'END'
import socket
for i in range(3):
    s = socket.create_connection(("127.0.0.1", 8000), 5)
    s.sendall(b"near")
    assert s.recv(10) == b"near"
END
for steps in "nobody filter=all" "nobody capset filter=serve"; do
	# shellcheck disable=SC2086
	confined af_packet $steps
	FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info lab_exec_server timeout 10 "$RUN" python3 "$LAB_TMP/near.py" || fail "$steps: a process of the host is not served"
	[ "$steps" != "nobody filter=all" ] || [ "$(reason_of FABRIC python3)" = 3 ] || fail "$steps: the kernel served it"
	lab_exec_client python3 "$LAB_TMP/client.py" 2 || fail "$steps: the service ends after a process of the host"
	quit "$steps"
done
for steps in "nobody capset" raw; do
	# shellcheck disable=SC2086
	confined tap $steps
	follows fastnet-keeper
	follows eal-intr-thread
	quit "$steps"
done

# A filter that allows the program's own calls only: what there is becomes the kernel's before it is installed, in strict
# mode too; clients of the kernel's side are served as they always were.
cat >"$LAB_TMP/given-back.py" <<'END'
import socket, subprocess, sys
before = socket.create_connection(("10.9.0.2", 8000), 5)
idle = socket.create_connection(("10.9.0.2", 8000), 5)
def echo(s, data):
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        got += s.recv(65536) or sys.exit("end of file after %d bytes" % len(got))
    assert got == data
echo(idle, b"here")
echo(before, b"go")
for n in range(20):
    echo(before, b"x" * 3000)
if sys.argv[1] != "strict":
    echo(idle, b"y" * 3000)
    subprocess.run(["ip", "netns", "exec", sys.argv[2], sys.executable, "-c", """
import socket
s = socket.create_connection(("127.0.0.1", 8000), 5)
s.sendall(b"new")
assert s.recv(10) == b"new"
"""], check=True)
before.shutdown(socket.SHUT_WR)
assert before.recv(1) == b"", "the end of file did not come back"
END
for steps in "nobody filter=own" "tsync=own" "filter=all filter=own" strict; do
	lab_make af_packet
	: >"$LAB_TMP/fastnet.log"
	# shellcheck disable=SC2086
	under_fastnet "$server" 8000 meet $steps
	await lab_exec_client nc -z -w1 "$LAB_SERVER_IP" 8000 || fail "$steps: no answer"
	lab_exec_client python3 "$LAB_TMP/given-back.py" "$steps" "$LAB_SERVER_NS" || fail "meet, $steps: the client fails"
	if [ "$steps" != strict ]; then
		grep -q "does not allow.*: sockets are the kernel's now" "$LAB_TMP/fastnet.log" || fail "$steps: no message"
		lab_exec_server "$STAT" "$LAB_SERVER_PID" >"$LAB_TMP/stat"
		grep -q "seccomp filter does not allow" "$LAB_TMP/stat" || fail "$steps: no reason"
		lab_exec_server python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8000), 2).sendall(b"quit")'
	fi
	lab_await_exit "$LAB_SERVER_PID" 5 || fail "$steps: it does not end"
	wait "$LAB_SERVER_PID" || fail "$steps: its status is $?"
	await lab_port_is_free || fail "$steps: a relay is left"
done

# A filter that comes before the port is open, and would not let it be opened: there is no port.
cat >"$LAB_TMP/early.py" <<'END'
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("HBBI", *i) for i in ((0x20, 0, 0, 0), (0x15, 0, 1, 319), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7fff0000)))
memory = ctypes.create_string_buffer(code)
prog = struct.pack("HxxxxxxP", 4, ctypes.addressof(memory))
assert not libc.prctl(38, 1, 0, 0, 0) and not libc.prctl(22, 2, prog, 0, 0)
try:
    socket.create_connection(("10.9.0.1", 1), 2)
except ConnectionRefusedError:
    raise SystemExit("through the port")
except OSError:
    pass
END
lab_make af_packet
lab_exec_server env FASTNET_LOG="$LAB_TMP/fastnet.log" "$RUN" --nic "$LAB_SPEC" python3 "$LAB_TMP/early.py" || fail "filter before the port: $?"

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
