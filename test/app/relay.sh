# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What happens at either end of a converted connection while a relay stands between: ends of file in both orders, resets by
# the peer while the program reads, waits and writes, an end with bytes unread, bytes that a slow peer fetches when the program
# has gone, signals for the program's process group, and a relay that is killed. Nobody hangs, nothing that was written is
# lost but with the relay.
lab_need python3 pgrep
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/server.py" <<'END'
import os, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
run = {
    b"e": "cat",
    b"l": "head -c 30000 /dev/zero",	# in place of the server
    b"h": "cat >/dev/null; head -c 1000000 /dev/zero",
    b"w": "cat /dev/zero",
    b"u": "head -c 1 | cat >/dev/null",
    b"g": "trap '' HUP INT QUIT TERM TSTP; echo $$; exec cat",	# a process group of its own
}
s = socket.create_server(("0.0.0.0", 7000), backlog=128)
while True:
    c, a = s.accept()
    what = c.recv(1)
    if what and (what == b"l" or os.fork() == 0):
        if what == b"g":
            os.setpgid(0, 0)
        os.dup2(c.fileno(), 0)
        os.dup2(c.fileno(), 1)
        os.execvp("sh", ["sh", "-c", run[what]])
    c.close()
END
cat >"$LAB_TMP/client.py" <<'END'
import os, signal, socket, struct, subprocess, sys, time
ns = sys.argv[1]
def connect(what, rcvbuf=0):
    c = socket.socket()
    if rcvbuf:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    c.settimeout(10)
    c.connect(("10.9.0.2", 7000))
    c.sendall(what)
    return c
def whole(c):
    n = 0
    while d := c.recv(65536):
        n += len(d)
    return n
def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
def names():
    pids = subprocess.run(["ip", "netns", "pids", ns], stdout=subprocess.PIPE).stdout.split()
    out = []
    for p in pids:
        try:
            out.append((open("/proc/%s/comm" % p.decode()).read().strip(), int(p)))
        except OSError:
            pass
    return out
def gone(*programs):
    end = time.monotonic() + 8
    while any(n in programs for n, p in names()):
        assert time.monotonic() < end, ("still there", names())
        time.sleep(0.02)
def echo(c):
    c.sendall(b"hello")
    assert c.recv(5) == b"hello"

c = connect(b"h")	# the peer's end first
c.sendall(b"x" * 300000)
c.shutdown(socket.SHUT_WR)
assert whole(c) == 1000000
gone("sh", "cat", "head")

c = connect(b"u")	# it leaves bytes unread
c.sendall(b"x" * 2000000)
try:
    whole(c)
    sys.exit("no reset though bytes were left unread")
except ConnectionResetError:
    pass
gone("sh", "cat", "head")

c = connect(b"e")	# a reset while it waits
echo(c)
reset(c)
gone("sh", "cat")
c = connect(b"w")	# while it writes
assert c.recv(1000, socket.MSG_WAITALL)
reset(c)
gone("sh", "cat")
c = connect(b"w")	# and after the peer's end of file
assert c.recv(1000, socket.MSG_WAITALL)
c.shutdown(socket.SHUT_WR)
assert c.recv(1000, socket.MSG_WAITALL)
reset(c)
gone("sh", "cat", "fastnet-relay")

c = connect(b"g")	# what a terminal sends to the program's group is not the relay's
group = int(c.makefile().readline())
relays = [p for n, p in names() if n == "fastnet-relay"]
assert relays, names()
for p in relays:
    assert os.getsid(p) == p and os.getsid(group) != p, (p, os.getsid(p), os.getsid(group))
for sig in signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP:
    os.killpg(group, sig)
    echo(c)
assert relays == [p for n, p in names() if n == "fastnet-relay"]
c.close()
gone("sh", "cat", "fastnet-relay")

idle, busy = connect(b"e"), connect(b"w")	# the relay is killed
echo(idle)
assert busy.recv(1000, socket.MSG_WAITALL)
subprocess.run(["kill", "-KILL"] + [str(p) for n, p in names() if n == "fastnet-relay"], check=True)
for c in idle, busy:
    try:
        whole(c)
        sys.exit("a connection whose relay was killed ends as if nothing was lost")
    except ConnectionResetError:
        pass
gone("sh", "cat")
c = connect(b"e")	# the next one has another
echo(c)
c.close()
gone("sh", "cat", "fastnet-relay")

c = connect(b"l", 4096)	# the program ends, and nobody else is there, long before the peer has read
gone("python3", "sh", "head")
time.sleep(1)		# longer than the library's exit waits
assert whole(c) == 30000, "bytes are lost that the program had written"
c.close()
gone("fastnet-relay")
END
FASTNET_EXIT_DRAIN_MS=50 under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 7000 || fail "the server does not answer"
lab_exec_client timeout 60 python3 "$LAB_TMP/client.py" "$LAB_SERVER_NS" || fail "the client fails"
