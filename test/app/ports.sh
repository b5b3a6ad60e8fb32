# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Ports as they are configured: two in one process, each with the connections of its own network; one that cannot be opened,
# or that is configured wrongly, which on_error leaves to the kernel or makes the end of the program; and fd_base.
lab_need python3 ss
lab_make af_packet
ip link add "fd$$" netns "$LAB_CLIENT_NS" type veth peer name "fe$$" netns "$LAB_SERVER_NS"
ip -n "$LAB_CLIENT_NS" addr add 10.8.0.1/24 dev "fd$$"
ip -n "$LAB_CLIENT_NS" link set "fd$$" up
ip -n "$LAB_SERVER_NS" link set "fe$$" up

# Serves a connection from each network, then makes one to each.
cat >"$LAB_TMP/server.py" <<'END'
import signal, socket
s = socket.create_server(("0.0.0.0", 8000))
for i in range(2):
    c, a = s.accept()
    while d := c.recv(65536):
        c.sendall(d)
    print(c.getsockname()[0], a[0], flush=True)
    c.close()
for peer in "10.9.0.1", "10.8.0.1":
    c = socket.create_connection((peer, 8001))
    print(c.getsockname()[0], c.recv(64).decode(), flush=True)
    c.close()
print("done", flush=True)
signal.pause()
END
cat >"$LAB_TMP/client.py" <<'END'
import os, socket
s = socket.create_server(("0.0.0.0", 8001))
for server in "10.9.0.2", "10.8.0.2":
    c = socket.create_connection((server, 8000), timeout=10)
    data, got = os.urandom(30000), b""
    c.sendall(data)
    c.shutdown(socket.SHUT_WR)
    while d := c.recv(65536):
        got += d
    assert got == data, server
for i in range(2):
    c, a = s.accept()
    c.sendall(a[0].encode())
    c.close()
END
LAB_SPEC="$LAB_SPEC; dpdk:net_af_packet1,iface=fe$$ address=10.8.0.2/24 name=second"
under_fastnet python3 "$LAB_TMP/server.py"
await grep -q 'is open' "$LAB_TMP/fastnet.log" || fail "no port is open"
lab_exec_client timeout 30 python3 "$LAB_TMP/client.py" || fail "the client fails"
lab_await_line '^done' || fail "the server does not get through"
diff - "$LAB_TMP/server.log" <<'END' || fail "other addresses than expected"
10.9.0.2 10.9.0.1
10.8.0.2 10.8.0.1
10.9.0.2 10.9.0.2
10.8.0.2 10.8.0.2
done
END
lab_exec_server "$STAT" --json "$LAB_SERVER_PID" | python3 -c '
import json, sys
p = json.load(sys.stdin)[0]
assert [q["state"] for q in p["ports"]] == ["open", "open"], p["ports"]
assert [n["tx_packets"] > 20 for n in p["nics"] if n["name"] != "fabric"] == [True, True], p["nics"]' || fail "not both ports have carried something"
lab_stop_server

# subject WHAT IT DOES [VARIABLE=VALUE…]: a program with a port on an interface that is not there; its output and status.
subject()
{
	local script=$1

	shift
	: >"$LAB_TMP/fastnet.log"
	lab_exec_server env LD_PRELOAD="$BUILD/.libs/libfastnet.so" FASTNET_LOG="$LAB_TMP/fastnet.log" \
		FASTNET_NIC="dpdk:net_af_packet0,iface=nosuch0 address=10.7.0.2/24 gateway=10.7.0.1" "$@" \
		python3 -c "import socket; $script; print('goes on')" 2>&1
}
# The kernel has no route there; the connect by which the port would be opened is the kernel's then.
connects="
try: socket.create_connection(('10.7.0.1', 80))
except OSError as e: print(e.strerror)"
said=$(subject "$connects")
[ "$said" = "Network is unreachable
goes on" ] || fail "a port that cannot be opened, on_error = kernel: $said"
grep -q 'error: port net_af_packet0 (.*) cannot be opened: .*no interface nosuch0' "$LAB_TMP/fastnet.log" || fail "it is not told"
said=$(subject "$connects" FASTNET_ON_ERROR=abort)
[ "$?:$said" = 1: ] || fail "a port that cannot be opened, on_error = abort: $said"
grep -q 'cannot be opened: .*no interface nosuch0' "$LAB_TMP/fastnet.log" || fail "it is not told"
[ "$(subject pass FASTNET_ON_ERROR=abort)" = "goes on" ] || fail "a port that nobody needs ends the program"
for wrong in FASTNET_NIC="dpdk:net_af_packet0,iface=nosuch0 address=10.7.0.2" FASTNET_SPIN_US=soon; do
	[ "$(subject "$connects" "$wrong" | tail -n 1)" = "goes on" ] || fail "$wrong, on_error = kernel"
	grep -q "${wrong%%=*}.*: expected" "$LAB_TMP/fastnet.log" || fail "$wrong is not told"
	said=$(subject pass "$wrong" FASTNET_ON_ERROR=abort)
	[ "$?:$said" = 1: ] || fail "$wrong, on_error = abort: $said"
	grep -q "${wrong%%=*}.*: expected" "$LAB_TMP/fastnet.log" || fail "$wrong is not told"
done
# A port that is right beside a value that is wrong is not opened either.
cat >"$LAB_TMP/half.conf" <<END
[fastnet]
spin_us = soon

[nic good]
type = dpdk
devargs = $LAB_DEVARGS
address = 10.9.0.2/24
END
preloaded()
{
	FASTNET_CONF=$LAB_TMP/half.conf FASTNET_LOG=$LAB_TMP/fastnet.log lab_start_server env \
		LD_PRELOAD="$BUILD/.libs/libfastnet.so" "$@"
}
: >"$LAB_TMP/fastnet.log"
preloaded python3 -c '
import signal, socket
s = socket.socket()
try: s.bind(("10.9.0.2", 8000))
except OSError as e: print("bind:", e.strerror, flush=True)
signal.pause()'
lab_await_line '^bind: Cannot assign requested address' || fail "a port beside a wrong value is served"
grep -q 'half.conf:2: .*spin_us: expected' "$LAB_TMP/fastnet.log" || fail "the wrong value is not told"
lab_exec_server "$STAT" "$LAB_SERVER_PID" | grep -q "the configuration is wrong: every socket is the kernel's" ||
	fail "fastnet-stat does not tell"
lab_stop_server

# Numbers below fd_base are the kernel's: files have them, sockets and epoll sets that may be accelerated do not.
cat >"$LAB_TMP/server.py" <<'END'
import os, select, socket
s = socket.create_server(("0.0.0.0", 8002))
e = select.epoll()
e.register(s, select.EPOLLIN)
f = open("/dev/null")
d = s.dup()
low = os.dup2(f.fileno(), 90)
while not e.poll():
    pass
c, a = d.accept()
e.register(c, select.EPOLLIN)
while True:
    assert e.poll() == [(c.fileno(), select.EPOLLIN)]
    data = c.recv(65536)
    if not data:
        break
    c.sendall(data)
u = socket.socket(socket.AF_UNIX)
print("numbers", min(s.fileno(), e.fileno(), d.fileno(), c.fileno()) >= 100, f.fileno() < 100, u.fileno() < 100, low, flush=True)
END
FASTNET_FD_BASE=100 under_fastnet python3 "$LAB_TMP/server.py"
lab_exec_client python3 -c '
import socket, time
end = time.monotonic() + 10
while True:
    c = socket.socket()
    c.settimeout(10)
    if not c.connect_ex(("10.9.0.2", 8002)):
        break
    assert time.monotonic() < end
c.sendall(b"hello")
assert c.recv(9) == b"hello"
c.close()' || fail "a server with FASTNET_FD_BASE=100 does not answer"
lab_await_line '^numbers True True True 90' || fail "other numbers than expected"
