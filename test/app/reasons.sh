# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What fastnet-stat tells of sockets that stay with the kernel: IPv6 destinations have their reason, a datagram socket is
# asked about once a destination and recorded once a reason, what the policy would accelerate and the stack cannot take is
# where it went, and an inert library says that it is one. No port is opened.
lab_need python3
LAB_TMP=$(mktemp -d)
pid='' other=
trap 'kill $pid $other 2>/dev/null; rm -rf "$LAB_TMP"' EXIT
mkfifo "$LAB_TMP/ready" "$LAB_TMP/go"
exec 7<>"$LAB_TMP/go"
PORT=net_af_packet0,iface=none$$

# subject SCRIPT [VARIABLE=VALUE…]: a python program under the library that waits when it is through; its PID in $pid.
subject()
{
	local script=$1

	shift
	env LD_PRELOAD="$BUILD/.libs/libfastnet.so" FASTNET_LOG="$LAB_TMP/fastnet.log" FASTNET_LOG_LEVEL=info \
		FASTNET_NIC="dpdk:$PORT address=10.77.0.2/24" "$@" \
		python3 -c "$script"'
open("'"$LAB_TMP"'/ready", "w").write("x")
open("'"$LAB_TMP"'/go").read(1)' <&7 &
	pid=$!
	read -r -n 1 _ <"$LAB_TMP/ready"
}

# decisions KEY…: those keys of each decision, a line each.
decisions()
{
	"$STAT" --json "$pid" | python3 -c '
import json, sys
for d in json.load(sys.stdin)[0]["decisions"]:
    print(*(d.get(k) for k in sys.argv[1:]))' "$@"
}

finish()
{
	echo >&7
	wait "$pid" || fail "the program failed"
	pid=
}

subject '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(100):
    s.sendto(b"x", ("127.0.0.1", 9 + i % 2))
t = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
t.connect_ex(("::1", 1))
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for i in range(100):
    u.sendto(b"x", ("::1", 9))
v = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v.bind(("::1", 0))
assert [x.fileno() for x in (s, t, u, v)] == [3, 4, 5, 6], s'
decisions fd reason >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<'END' || fail "other decisions than expected"
3 LOCAL
4 IP6
5 IP6
6 IP6
END
finish

# Another process holds the port: its name is all that there is of it.
python3 -c '
import socket, sys, signal
s = socket.socket(socket.AF_UNIX)
s.bind("\0fastnet/port/" + sys.argv[1])
s.listen()
print(flush=True)
signal.pause()' $PORT >"$LAB_TMP/ready" &
other=$!
read -r _ <"$LAB_TMP/ready"
subject '
import socket
for to in "10.77.0.2", "0.0.0.0":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((to, 0))
    globals()["keep" + to] = s
t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(3):
    try: t.sendto(b"x", ("10.77.0.1", 9))
    except OSError: pass'
decisions fd reason verb text | sort -u >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<END || fail "datagram sockets while the port is held"
3 PORT_HELD listen kernel: port held by PID $other
4 PORT_HELD listen kernel: port held by PID $other
5 PORT_HELD connect kernel: port held by PID $other
END
finish
kill "$other"
wait "$other" 2>/dev/null
other=

# There are no more sockets than configured: the rest is the kernel's, and serves.
env LD_PRELOAD="$BUILD/.libs/libfastnet.so" FASTNET_LOG=none python3 -c '
import signal, socket
s = socket.create_server(("127.0.0.1", 0), backlog=64)
print(s.getsockname()[1], flush=True)
signal.pause()' >"$LAB_TMP/ready" &
other=$!
read -r port <"$LAB_TMP/ready"
subject '
import socket
tcp = [socket.create_connection(("127.0.0.1", '"$port"')) for i in range(17)]
udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for i in range(17)]
for s in udp:
    s.bind(("127.0.0.1", 0))
    s.setblocking(False)
    try: s.recv(1)
    except BlockingIOError: pass' FASTNET_NIC= FASTNET_MAX_TCP=16 FASTNET_MAX_UDP=16
decisions fd reason | awk '{ last[$1] = $2 } END { for (fd in last) n[last[fd]]++; for (r in n) print r, n[r] }' | sort >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<'END' || fail "17 sockets of a kind, with 16 of the stack's"
FABRIC 16
FABRIC_LISTEN 16
NO_SOCKETS 2
END
finish
grep -q "info: sockets: NO_SOCKETS 2 FABRIC 16 FABRIC_LISTEN 17 " "$LAB_TMP/fastnet.log" ||
	fail "the log's last line: $(tail -n 1 "$LAB_TMP/fastnet.log")"
kill "$other"
wait "$other" 2>/dev/null
other=

# Datagram sockets that nobody comes to by shared memory have no decision before they send.
subject '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 0))
t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
t.bind(("127.0.0.1", 0))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("127.0.0.1", 0))
s.sendto(b"x", u.getsockname())
s.sendto(b"x", ("127.0.0.1", 1))' FASTNET_NIC=
decisions fd reason verb >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<'END' || fail "datagram sockets of the fabric"
5 FABRIC_LISTEN listen
3 FABRIC connect
3 FABRIC_NOBODY connect
END
finish

# Numbers that are the kernel's, from the beginning or for another program.
subject '
import os, socket
os.close(0)
s = socket.socket()
t = socket.socket()
u = socket.socket()
u.bind(("127.0.0.1", 0))
os.dup2(t.fileno(), 0)
os.dup2(u.fileno(), 0)
assert [x.fileno() for x in (s, t, u)] == [0, 3, 4]'
decisions fd reason >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<'END' || fail "sockets that become descriptor 0"
0 FD_BASE
3 INHERITED
4 INHERITED
END
finish

# An option that no stack of ours serves, one that the kernel refuses (without a connection it has no such protocol), and
# sockets that go to code that knows nothing of Fastnet before they are decided.
subject '
import ctypes, os, socket, struct
all_of_it = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xffff))	# BPF_RET
program = struct.pack("HxxxxxxP", 1, ctypes.addressof(all_of_it))
s, t, u, v = (socket.socket() for i in range(4))
s.setsockopt(socket.SOL_SOCKET, 26, program)	# SO_ATTACH_FILTER
try:
    t.setsockopt(socket.IPPROTO_TCP, 31, b"no such")	# TCP_ULP
except OSError:
    pass
os.dup2(u.fileno(), 0)
pair = socket.socketpair()
socket.send_fds(pair[0], [b"x"], [v.fileno()])
for x in s, t, u, v:
    x.connect_ex(("127.0.0.1", 1))'
decisions type reason text >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<'END' || fail "other decisions than expected"
SOCK_STREAM OPTION kernel: option SO_ATTACH_FILTER
SOCK_STREAM INHERITED kernel: shared with another program before it was decided
SOCK_STREAM INHERITED kernel: shared with another program before it was decided
SOCK_STREAM FABRIC_NOBODY kernel: address of this host, no Fastnet listener there
END
finish

subject 'pass' FASTNET_DISABLE=1
"$STAT" "$pid" >"$LAB_TMP/got" 2>&1
grep -q "loaded but inert" "$LAB_TMP/got" || fail "a disabled library is not told: $(cat "$LAB_TMP/got")"
finish
