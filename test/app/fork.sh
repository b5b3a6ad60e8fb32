# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Processes that share a stack by fork: the child serves the connection that its parent accepted, whatever the parent
# closes; the parent goes on with one whose child has gone. More children than a stack has places for images have theirs
# all the same. A child that is killed, or execs, is found out and its sockets are closed as the kernel would close them; an
# exec that fails ends nothing. The counts return to where they were.
lab_need python3
lab_make af_packet
lab_offloads off
rounds=200 kills=15
[ -z "$LONG" ] || rounds=10000 kills=1000
cat >"$LAB_TMP/server.py" <<'END'
import os, signal, socket, threading, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def busy():		# another thread, which forks do not disturb
    while True:
        time.sleep(0.001)
threading.Thread(target=busy, daemon=True).start()
s = socket.create_server(("0.0.0.0", 8000), backlog=128)
def echo(c):
    while True:
        d = c.recv(65536)
        if not d:
            return
        c.sendall(d)
while True:
    c, a = s.accept()
    what = c.recv(1)
    if what == b"p":	# the child has the connection as well, and goes at once; the parent serves
        if os.fork() == 0:
            os._exit(0)
        echo(c)
    elif os.fork() == 0:
        s.close()
        if what == b"e":	# the child serves
            echo(c)
        elif what == b"k":	# tells its number, and is killed while it serves
            c.sendall(b"%d\n" % os.getpid())
            echo(c)
        elif what == b"x":	# an exec that fails, then one that does not: the connection goes with the image
            try:
                os.execv("/dev/null", ["null"])
            except OSError:
                c.sendall(b"still here\n")
            c.recv(1)
            os.execv("/bin/sleep", ["sleep", "20"])
        os._exit(0)
    c.close()
END
under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 8000 || fail "the server does not answer"
cat >"$LAB_TMP/client.py" <<'END'
import os, signal, socket, sys, time
rounds, kills = int(sys.argv[1]), int(sys.argv[2])
def connect(what):
    c = socket.create_connection(("10.9.0.2", 8000), timeout=10)
    c.sendall(what)
    return c
def whole(c, n):
    data, got = os.urandom(n), b""
    c.sendall(data)
    c.shutdown(socket.SHUT_WR)
    while True:
        d = c.recv(65536)
        if not d:
            break
        got += d
    assert got == data, "%d of %d bytes came back" % (len(got), n)
    c.close()
for i in range(rounds):
    whole(connect(b"ep"[i % 2:i % 2 + 1]), 20000)
print("served", rounds)
# more at once than one stack has places for images: those beyond get their connection as the kernel's
crowd = [connect(b"e") for i in range(80)]
for turn in range(2):
    for c in crowd:
        data, got = os.urandom(3000), b""
        c.sendall(data)
        while len(got) < len(data):
            d = c.recv(65536)
            assert d, "one of a crowd ended"
            got += d
        assert got == data
for c in crowd:
    c.close()
for i in range(4):
    whole(connect(b"ep"[i % 2:i % 2 + 1]), 20000)
print("a crowd of", len(crowd))
def line(c):
    text = b""
    while not text.endswith(b"\n"):
        d = c.recv(1)
        assert d, "the connection ended"
        text += d
    return text
took = []
for i in range(kills):
    c = connect(b"k")
    pid = int(line(c))
    if i % 2:		# at work
        c.setblocking(False)
        try:
            while True:
                c.send(b"x" * 8192)
        except BlockingIOError:
            pass
        c.settimeout(10)
    t = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    try:
        while c.recv(65536):
            pass
    except ConnectionResetError:	# it had not read everything
        assert i % 2, "reset, though everything was read"
    took.append(time.monotonic() - t)
    c.close()
took.sort()
worst, median = took[-1], took[len(took) // 2]
print("killed", kills, "noticed within %.0f ms, half of them within %.0f" % (worst * 1000, median * 1000))
assert median < 0.2, "half of the deaths were noticed after %.3f s" % median
assert worst < 1, "a death was noticed after %.3f s" % worst	# on a busy machine, too
c = connect(b"x")
assert line(c) == b"still here\n"
t = time.monotonic()
c.sendall(b"x")
assert c.recv(1) == b"", "data out of nothing"
assert time.monotonic() - t < 1, "an exec was noticed after %.3f s" % (time.monotonic() - t)
whole(connect(b"e"), 50000)
print("exec")
END
lab_exec_client timeout 280 python3 "$LAB_TMP/client.py" $rounds $kills || fail "the client says so"
pid=$LAB_SERVER_PID
kernel_has_no_connection 8000
at_least "$pid" tcp_passive_open $((rounds + kills))
at_least "$pid" images_died $kills
alone()
{
	[ "$(lab_exec_server "$STAT" "$pid" | awk '$2 == "tcp_sockets" { print $1 }')" = 1 ]
}
await alone || fail "sockets are left, where the listener should be alone: $(lab_exec_server "$STAT" "$pid")"
