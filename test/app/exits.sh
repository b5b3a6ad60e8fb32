# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Every way to end with two megabytes accepted by send() and not yet sent: all of them arrive, then end of file. Alone a
# process waits for it, or has the relay finish when it execs; a member of a shared stack leaves it to the others, however
# it dies.
lab_need python3
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/server.py" <<'END'
import ctypes, os, signal, socket, sys, threading, time
alone = sys.argv[1] if len(sys.argv) > 1 else None
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
data = bytes(i * 131 >> 3 & 255 for i in range(1 << 16)) * 32
libc = ctypes.CDLL(None)
s = socket.create_server(("0.0.0.0", 8000), backlog=16)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
def end(c, way):
    c.setblocking(False)
    assert c.send(data) == len(data), "not all of it was accepted"
    if way == "_exit":
        os._exit(0)
    elif way == "quick_exit":
        libc.quick_exit(0)
    elif way == "exit":
        libc.exit(0)
    elif way == "raw":
        libc.syscall(231, 0)	# exit_group
    elif way == "execve":
        os.execv("/bin/sleep", ["sleep", "20"])
    elif way == "thread":	# not the one that accepted
        threading.Thread(target=os._exit, args=(0,)).start()
        threading.Event().wait()
    elif way == "abort":
        os.abort()
    elif way in ("SIGTERM", "SIGKILL"):
        os.kill(os.getpid(), getattr(signal, way))
    assert way == "return"
while True:
    c, a = s.accept()
    way = c.recv(16).decode()
    if not way:		# only looked whether somebody listens
        c.close()
        continue
    if alone:
        end(c, alone)
        break
    if way == "held":	# by the parent, while a child ends
        t = time.monotonic()
        if os.fork() == 0:
            end(c, "_exit")
        try:
            os.wait()
        except ChildProcessError:	# SIGCHLD is ignored: it waits all the same
            pass
        print("ended after %.3f s" % (time.monotonic() - t), flush=True)
    elif os.fork() == 0:
        s.close()
        end(c, way)
        break
    c.close()
END
cat >"$LAB_TMP/client.py" <<'END'
import socket, sys
data = bytes(i * 131 >> 3 & 255 for i in range(1 << 16)) * 32
for way in sys.argv[1:]:
    c = socket.create_connection(("10.9.0.2", 8000), timeout=10)
    c.sendall(way.encode())
    got = b""
    while True:
        d = c.recv(65536)
        if not d:
            break
        got += d
    assert got == data, "%s: %d of %d bytes" % (way, len(got), len(data))
    print(way)
END
for way in return exit _exit quick_exit raw thread execve; do
	under_fastnet python3 "$LAB_TMP/server.py" $way
	lab_await_port 8000 || fail "the server does not answer"
	lab_exec_client timeout 60 python3 "$LAB_TMP/client.py" $way || fail "$way, alone"
	lab_stop_server
done
under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 8000 || fail "the server does not answer"
lab_exec_client timeout 100 python3 "$LAB_TMP/client.py" return exit _exit quick_exit raw thread execve ||
	fail "a member"
# One that is killed while its keeper holds the stack may have its connection reset (README): then once more.
in_the_midst()
{
	grep -c "died while it changed" "$LAB_TMP/fastnet.log"
}
for way in abort SIGTERM SIGKILL; do
	before=$(in_the_midst)
	until lab_exec_client timeout 60 python3 "$LAB_TMP/client.py" $way; do
		now=$(in_the_midst)
		[ "$now" -gt "$before" ] && [ "$now" -lt 5 ] || fail "a member, $way"
		before=$now
	done
done
# A peer that does not read: who waits for it does so as long as FASTNET_EXIT_DRAIN_MS says (3 s unless it is set), and who
# leaves it to a sibling does not.
cat >"$LAB_TMP/silent.py" <<'END'
import os, re, socket, sys, time
data = bytes(i * 131 >> 3 & 255 for i in range(1 << 16)) * 32
way, pid, log = sys.argv[1], sys.argv[2], sys.argv[3]
c = socket.socket()
c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
c.settimeout(10)
c.connect(("10.9.0.2", 8000))
t = time.monotonic()
c.sendall(way.encode())
def gone():
    try:
        return open("/proc/%s/stat" % pid).read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True
if way == "held":
    while not (said := re.search(r"ended after (\S+) s", open(log).read())):
        assert time.monotonic() - t < 20
        time.sleep(0.01)
    took = float(said[1])
    assert took < 2, took
    got = b""
    while d := c.recv(65536):
        got += d
    assert got == data, "%d of %d bytes" % (len(got), len(data))
else:
    while not gone():
        assert time.monotonic() - t < 20
        time.sleep(0.01)
    took = time.monotonic() - t
    assert 0.25 < took < 2, took
print(way, "%.3f s" % took)
END
silent()
{
	lab_exec_client timeout 60 python3 "$LAB_TMP/silent.py" "$1" "$LAB_SERVER_PID" "$LAB_TMP/server.log"
}
kernel_has_no_connection 8000
at_least "$LAB_SERVER_PID" tcp_passive_open 10
lab_stop_server
FASTNET_EXIT_DRAIN_MS=20000 under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 8000 || fail "the server does not answer"
silent held || fail "a member waits for a peer, though its parent has the socket"
lab_stop_server
for way in _exit return; do
	FASTNET_EXIT_DRAIN_MS=300 under_fastnet python3 "$LAB_TMP/server.py" $way
	lab_await_port 8000 || fail "the server does not answer"
	silent $way || fail "$way waits for a peer that does not read, but not 300 ms"
	wait "$LAB_SERVER_PID"
done
