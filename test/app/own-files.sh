# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A thread is to have descriptors of its own, by unshare(2) or close_range(2). While others run it is refused if anything is
# accelerated, which goes on; before, the library steps aside for good. The only thread may have them whenever it wants, and
# whatever thread the library has keeps none of them open.
lab_need python3
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/echo.py" <<'END'
import socket
l = socket.create_server(("0.0.0.0", 7000))
print("ready", flush=True)
while True:
    c, who = l.accept()
    while d := c.recv(65536):
        c.sendall(d)
    c.close()
END
cat >"$LAB_TMP/own.py" <<'END'
import ctypes, errno, os, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
HIGH = 1000000		# above all numbers that there are
def unshare():
    return libc.unshare(0x400)
def unshare_more():
    return libc.unshare(0x400 | 0x200)
def by_number():
    return libc.syscall(272, 0x400)
def close_range():
    return libc.close_range(HIGH, HIGH, 2)
ways = unshare, unshare_more, by_number, close_range
def outcome(way):
    return way() and errno.errorcode[ctypes.get_errno()]
def in_thread(f, *args):
    out = []
    t = threading.Thread(target=lambda: out.append(f(*args)))
    t.start()
    t.join()
    return out[0]
def connect():
    return socket.create_connection((sys.argv[2], int(sys.argv[3])), 10)
def echo(c):
    c.sendall(b"hello")
    assert c.recv(5, socket.MSG_WAITALL) == b"hello"

if sys.argv[1] == "refused":
    c = connect()
    echo(c)
    for way in ways:
        assert in_thread(outcome, way) == "EPERM", way
        echo(c)
    # EINVAL is the kernel's to say
    assert in_thread(outcome, lambda: libc.unshare(0x400 | 0x100)) == "EINVAL"
    assert in_thread(outcome, lambda: libc.close_range(2, 1, 2)) == "EINVAL"
elif sys.argv[1] == "alone":
    c = connect()
    echo(c)
    for way in ways:
        assert outcome(way) == 0, (way, errno.errorcode[ctypes.get_errno()])
        echo(c)
        r, w = os.pipe()
        assert outcome(way) == 0, way
        os.close(w)
        assert os.read(r, 1) == b"", "somebody has the other end"
        os.close(r)
    c.close()
    echo(connect())
elif sys.argv[1] == "before":
    s = socket.socket()	# could have been accelerated
    def own():
        assert outcome(unshare) == 0
        s2 = socket.socket()
        s2.connect((sys.argv[2], int(sys.argv[3])))
        echo(s2)
        os.close(s.fileno())	# this thread's number alone
    in_thread(own)
    s.connect((sys.argv[2], int(sys.argv[3])))
    echo(s)
END
own()
{
	lab_exec_server env FASTNET_LOG="$LAB_TMP/fastnet.log" FASTNET_LOG_LEVEL=info timeout 60 "$RUN" "$@"
}
# each "WHAT…" REASON ADDRESS OPTION…: there, where a socket is accelerated for that reason
each()
{
	local all=$1 reason=$2 to=$3 what

	shift 3
	for what in $all; do
		: >"$LAB_TMP/fastnet.log"
		own "$@" python3 "$LAB_TMP/own.py" "$what" "$to" 7000 || fail "$what, $reason"
		case $what in
		refused) [ "$(grep -c "refused in a process that has" "$LAB_TMP/fastnet.log")" = 4 ] ;;
		alone) [ "$(reason_of "$reason" python3)" = 2 ] ;;
		before) grep -q "nothing is accelerated from now on" "$LAB_TMP/fastnet.log" ;;
		esac || fail "$what, $reason: $(cat "$LAB_TMP/fastnet.log")"
	done
}
lab_start_server python3 "$LAB_TMP/echo.py"
lab_await_line ready || fail "no server"
for what in alone before; do
	lab_exec_server timeout 60 python3 "$LAB_TMP/own.py" "$what" 127.0.0.1 7000 || fail "$what on the kernel"
done
lab_stop_server
fabric_serve python3 "$LAB_TMP/echo.py"
lab_await_line ready || fail "no server of the host"
each "refused alone before" FABRIC 127.0.0.1
lab_stop_server
lab_exec_client python3 "$LAB_TMP/echo.py" >"$LAB_TMP/server.log" &
lab_pids+=("$!")
lab_await_line ready || fail "no server beyond the port"
# the kernel has no address there, so before that there is nothing to step aside to
each "refused alone" PORT "$LAB_CLIENT_IP" --nic "$LAB_SPEC"
