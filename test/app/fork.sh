# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Processes that share a stack by fork: the child serves the connection that its parent accepted, whatever the parent
# closes; the parent goes on with one whose child has gone; another thread runs meanwhile. The counts return to where
# they were.
lab_need python3
lab_make af_packet
lab_offloads off
rounds=100
[ -z "$LONG" ] || rounds=10000
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
        os._exit(0)
    c.close()
END
under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 8000 || fail "the server does not answer"
cat >"$LAB_TMP/client.py" <<'END'
import os, socket, sys
rounds = int(sys.argv[1])
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
END
lab_exec_client timeout 280 python3 "$LAB_TMP/client.py" $rounds || fail "the client says so"
pid=$LAB_SERVER_PID
kernel_has_no_connection 8000
at_least "$pid" tcp_passive_open $rounds
alone()
{
	[ "$(lab_exec_server "$STAT" "$pid" | awk '$2 == "tcp_sockets" { print $1 }')" = 1 ]
}
await alone || fail "sockets are left, where the listener should be alone: $(lab_exec_server "$STAT" "$pid")"
