# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Client and server in one process and one thread, in a parent and its child either way round, in threads; a server that goes
# and comes again; megabytes each way at once. No process has a thread for it. What every program prints is what it prints on
# the kernel.
lab_need python3
fabric_make
cat >"$LAB_TMP/same.py" <<'END'
import os, select, socket, threading

def listener(backlog=16, at='127.0.0.1', port=0):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((at, port))
    s.listen(backlog)
    return s

def say(*what):
    print(*what, flush=True)

# one thread: connect, then accept
l = listener()
c = socket.create_connection(l.getsockname())
a, who = l.accept()
say('same', who == c.getsockname(), a.getsockname() == c.getpeername(), c.getpeername() == l.getsockname())
c.sendall(b'ping')
say(a.recv(100))
say('threads of this process', len(os.listdir('/proc/self/task')))
a.sendall(b'pong' * 10000)
n = 0
while n < 40000:
    n += len(c.recv(65536))
say(n)
c.close()
say(a.recv(1))
a.close()

# without waiting, and with epoll
c = socket.socket()
c.setblocking(False)
ep = select.epoll()
ep.register(l, select.EPOLLIN)
try:
    c.connect(l.getsockname())
except BlockingIOError:
    say('in progress')
ep.register(c, select.EPOLLOUT)
seen = set()
while seen != {c.fileno(), l.fileno()}:
    seen |= {fd for fd, ev in ep.poll(10)}
say('connected', c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
a, who = l.accept()
c.close()
a.close()

# threads
def echo(s):
    while True:
        d = s.recv(65536)
        if not d:
            break
        s.sendall(d)
    s.close()
def serve():
    for i in range(4):
        threading.Thread(target=echo, args=(l.accept()[0],)).start()
t = threading.Thread(target=serve)
t.start()
def client(i):
    s = socket.create_connection(l.getsockname())
    data = bytes([i]) * 300000
    w = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
    w.start()
    got = b''
    while True:
        d = s.recv(65536)
        if not d:
            break
        got += d
    w.join()
    out[i] = got == data
    s.close()
out = {}
clients = [threading.Thread(target=client, args=(i,)) for i in range(4)]
[x.start() for x in clients]
[x.join() for x in clients]
t.join()
say('threads', sorted(out.items()))
l.close()
try:
    socket.create_connection(('127.0.0.1', 9))
except OSError as e:
    say('refused', e.errno)
END
cat >"$LAB_TMP/fork.py" <<'END'
import os, socket, sys
child_serves = sys.argv[1] == 'child'
l = socket.socket()
l.bind(('127.0.0.1', 0))
l.listen(16)
pid = os.fork()
serve = (pid == 0) == child_serves
if serve:
    for i in range(3):
        c, who = l.accept()
        while True:
            d = c.recv(65536)
            if not d:
                break
            c.sendall(d.upper())
        c.close()
else:
    for i in range(3):
        s = socket.create_connection(l.getsockname())
        s.sendall(b'hello %d' % i)
        print(s.recv(100), len(os.listdir('/proc/self/task')), flush=True)
        s.close()
if pid == 0:
    os._exit(0)
print(os.waitpid(pid, 0)[1])
END
for prog in same.py "fork.py child" "fork.py parent"; do
	# shellcheck disable=SC2086
	(cd "$LAB_TMP" && lab_exec_client timeout 60 python3 $prog) >"$LAB_TMP/kernel" 2>&1
	# shellcheck disable=SC2086
	(cd "$LAB_TMP" && on_fabric timeout 60 python3 $prog) >"$LAB_TMP/fabric" 2>&1
	sort "$LAB_TMP/kernel" >"$LAB_TMP/kernel.s"
	sort "$LAB_TMP/fabric" | diff "$LAB_TMP/kernel.s" - || fail "$prog differs from the kernel"
	[ -s "$LAB_TMP/kernel" ] || fail "$prog says nothing"
done
[ "$(reason_of FABRIC python3)" -ge 8 ] || fail "not through shared memory: $(cat "$LAB_TMP/fastnet.log")"

cat >"$LAB_TMP/server.py" <<'END'
import os, socket
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(('0.0.0.0', 7000))
l.listen(16)
print('ready', flush=True)
while True:
    c, who = l.accept()
    d = c.recv(100)
    assert len(os.listdir('/proc/self/task')) == 1, 'a thread that the program has not made'
    c.sendall(b'%d ' % who[1] + d)
    c.close()
    if d == b'end':
        break
END
cat >"$LAB_TMP/client.py" <<'END'
import os, socket, sys
for line in sys.stdin:
    try:
        s = socket.create_connection(('127.0.0.1', 7000))
    except OSError as e:
        print('error', e.errno, flush=True)
        continue
    me = s.getsockname()[1]
    s.sendall(line.strip().encode())
    port, said = s.recv(100).split()
    assert len(os.listdir('/proc/self/task')) == 1, 'a thread that the program has not made'
    print(said.decode(), int(port) == me, flush=True)
    s.close()
END
coproc CLIENT { FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info exec ip netns exec "$LAB_CLIENT_NS" "$RUN" python3 "$LAB_TMP/client.py"; }
to=${CLIENT[1]} from=${CLIENT[0]} client=$CLIENT_PID
ask()
{
	echo "$1" >&"$to"
	read -r -t 20 answer <&"$from" || fail "the client says nothing to $1"
	[ "$answer" = "$2" ] || fail "$1: $answer, expected $2"
}
ask nobody "error 111"
for round in 1 2 3; do
	fabric_serve python3 "$LAB_TMP/server.py"
	lab_await_line ready || fail "no server"
	ask "a$round" "a$round True"
	ask "b$round" "b$round True"
	ask end "end True"
	lab_await_exit "$LAB_SERVER_PID" 10 || fail "the server stays"
	ask "gone$round" "error 111"
done
lab_start_server python3 "$LAB_TMP/server.py"
lab_await_line ready || fail "no server on the kernel"
ask kernel "kernel True"
ask end "end True"
exec {to}>&-
lab_await_exit "$client" 10 || fail "the client stays"
[ "$(reason_of FABRIC python3)" -ge 17 ] || fail "the client of restarted servers: $(cat "$LAB_TMP/fastnet.log")"
