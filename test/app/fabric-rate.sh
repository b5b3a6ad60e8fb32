# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Connection after connection to a listener that has been met: few system calls, and right all the same. The first connect
# after its close is refused, however soon; the kernel sockets behind closed connections serve again only as what they were
# when they were new, and for nobody else.
lab_need python3 /usr/bin/python3 strace ss
fabric_make
python=/usr/bin/python3

cat >"$LAB_TMP/server.py" <<'END'
import selectors, socket, sys
sel = selectors.DefaultSelector()
def listen():
    l = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    sel.register(l, selectors.EVENT_READ)
    return l
l = listen()
print("ready", flush=True)
while True:
    for key, _ in sel.select():
        c = key.fileobj
        if c is l:
            sel.register(c.accept()[0], selectors.EVENT_READ)
            continue
        d = c.recv(64)
        if not d:
            sel.unregister(c)
            c.close()
            continue
        if d == b"close":
            sel.unregister(l)
            l.close()
        elif d == b"open":
            l = listen()
        c.sendall(d)
END
cat >"$LAB_TMP/rate.py" <<'END'
import socket, sys
for i in range(int(sys.argv[2])):
    with socket.socket() as s:
        s.connect(("127.0.0.1", int(sys.argv[1])))
        s.sendall(b"x" * 64)
        assert len(s.recv(64, socket.MSG_WAITALL)) == 64
END
cat >"$LAB_TMP/gone.py" <<'END'
import errno, socket, sys
to = ("127.0.0.1", int(sys.argv[1]))
def say(s, what):
    s.sendall(what)
    assert s.recv(64) == what
control = socket.create_connection(to)
for i in range(int(sys.argv[2])):
    for n in range(5):
        with socket.create_connection(to) as s:
            say(s, b"hello")
    say(control, b"close")
    with socket.socket() as s:
        err = s.connect_ex(to)
        assert err == errno.ECONNREFUSED, (i, err)
    say(control, b"open")
print("right")
END
cat >"$LAB_TMP/spare.py" <<'END'
import ctypes, errno, fcntl, os, socket, struct, subprocess, sys, threading
port, plain = int(sys.argv[1]), int(sys.argv[2])
def talk(s, to):
    s.connect(("127.0.0.1", to))
    s.sendall(b"hello")
    assert s.recv(64) == b"hello"
def used(**how):
    s = socket.socket(**how)
    talk(s, port)
    return s
# as new: unbound, blocking or not as asked, and with its own number
used().close()
s = socket.socket()
assert s.getsockname() == ("0.0.0.0", 0) and not fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and fcntl.fcntl(s, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
s.setblocking(False)
s.connect_ex(("127.0.0.1", port))
s.setblocking(True)
s.sendall(b"hello")
assert s.recv(64) == b"hello"
s.close()
s = socket.socket()
assert not fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK
s.close()
# options and names stay with the socket that got them
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
talk(s, port)
s.close()
s = socket.socket()
s.bind(("127.0.0.1", 0))
talk(s, port)
s.close()
s = socket.socket()
assert s.getsockname() == ("0.0.0.0", 0) and not s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 10000
# another user's socket is not ours
s.close()
used().close()
os.seteuid(65534)
l = socket.create_server(("127.0.0.1", 0))
os.seteuid(0)
out = subprocess.run(["ss", "-Hltne", "sport = :%d" % l.getsockname()[1]], capture_output=True, text=True).stdout
assert "uid:65534" in out, out
# the kernel's from now on: its end is seen at once, though a child has the number that a connection had
libc = ctypes.CDLL(None)
fd = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
s = socket.socket(fileno=fd)
talk(s, port)
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
pid = os.fork()
if not pid:
    os.read(0, 1)
    os._exit(0)
try:
    s.close()
    s = socket.socket()
    talk(s, plain)
    s.close()
    s = socket.socket()
    talk(s, port)
    s.close()
    watch = socket.create_connection(("127.0.0.1", plain))
    watch.sendall(b"gone?")
    assert watch.recv(64) == b"gone", "the kernel's connection has not ended"
finally:
    child.kill()
    os.kill(pid, 9)
print("right")
END
cat >"$LAB_TMP/plain.py" <<'END'
import socket, sys
l = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
d = b""
while not d:	# who waits for the port says nothing
    c = l.accept()[0]
    d = c.recv(64)
c.sendall(d)
w = l.accept()[0]
assert w.recv(64) == b"gone?"
c.settimeout(5)
try:
    w.sendall(b"gone" if c.recv(64) == b"" else b"data")
except TimeoutError:
    w.sendall(b"open")
END

fabric_serve $python "$LAB_TMP/server.py" 7000
lab_await_port 7000 || fail "the server does not start"
lab_exec_client $python "$LAB_TMP/plain.py" 7001 &
lab_pids+=("$!")
lab_await_port 7001 || fail "the kernel's server does not start"

[ "$(on_fabric timeout 60 $python "$LAB_TMP/gone.py" 7000 100)" = right ] || fail "a listener that is gone is connected to"
out=$(on_fabric timeout 60 $python "$LAB_TMP/spare.py" 7000 7001 <> <(:)) || fail "a kernel socket that has served: $out"
[ "${out##*$'\n'}" = right ] || fail "a kernel socket that has served: $out"

# Without strace: how many calls Python makes by itself.
n=1000
on_fabric strace -fc -e trace=socket,connect,accept,getsockname,getpeername,getsockopt,setsockopt,shutdown,fcntl,close,dup2,dup3 \
	-o "$LAB_TMP/strace" timeout 60 $python "$LAB_TMP/rate.py" 7000 $n || fail "connections under strace"
of()	# of NAME…: how many of these calls there were
{
	awk -v names=" $* " 'index(names, " " $NF " ") { n += $4 } END { print n + 0 }' "$LAB_TMP/strace"
}
[ "$(of socket connect accept getsockname getpeername getsockopt setsockopt shutdown dup2 dup3)" -lt $((n / 4)) ] &&
	[ "$(of fcntl close)" -lt $((5 * n)) ] || fail "too many system calls for $n connections: $(cat "$LAB_TMP/strace")"
