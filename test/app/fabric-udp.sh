# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Datagrams between processes of a host: what a program sees is what it sees on the kernel's loopback, whichever of the two is
# under the library; and between two that are, they go through shared memory.
lab_need python3
fabric_make

# A process that does what it is told: a line of Python, and the value of its last expression.
cat >"$LAB_TMP/actor.py" <<'END'
import ast, os, select, socket, struct, sys, time
sys.path.insert(0, os.path.dirname(sys.argv[0]))
from asking import *
for line in sys.stdin:
    tree = ast.parse(line)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    try:
        exec(compile(tree, 'told', 'exec'))
        value = last and eval(compile(last, 'told', 'eval'))
    except OSError as e:
        value = type(e).__name__
    print(repr(value), flush=True)
END

cat >"$LAB_TMP/asking.py" <<'END'
import select

def now(s, n=100):
    s.setblocking(False)
    try:
        return s.recv(n)
    except OSError as e:
        return type(e).__name__
    finally:
        s.settimeout(5)

def drain(s):
    n = 0
    while select.select([s], [], [], 0.02)[0]:
        s.recv(2000)
        n += 1
    return n
END

cat >"$LAB_TMP/subject.py" <<'END'
import os, select, socket, struct, subprocess, sys, time
AT = sys.argv[1]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
from asking import *
UDP = (socket.AF_INET, socket.SOCK_DGRAM)
actor = subprocess.Popen([sys.executable, os.environ['ACTOR']], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, LD_PRELOAD=os.environ['ACTOR_PRELOAD']))

def tell(what):
    actor.stdin.write(what + '\n')
    actor.stdin.flush()

def answer():
    return actor.stdout.readline().strip()

def do(what):
    tell(what)
    return answer()

def say(*what):
    print(*what, flush=True)

def attempt(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return type(e).__name__

def serve(name, addr):
    do(f"{name} = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    do(f"{name}.bind({addr!r})")
    do(f"{name}.settimeout(5)")
    return int(do(f"{name}.getsockname()[1]"))

# Question and answer for a while: from then on they know each other.
def warm(c, to, name='s'):
    end = time.monotonic() + 0.03
    tell(f"exec('while True:\\n d, a = {name}.recvfrom(100)\\n {name}.sendto(d, a)\\n if d == b\"end\": break')")
    while time.monotonic() < end:
        c.sendto(b'warm', to) if to else c.send(b'warm')
        assert c.recv(100) == b'warm'
    c.sendto(b'end', to) if to else c.send(b'end')
    assert c.recv(100) == b'end'
    answer()

TO = (AT, 5300)
serve('s', TO)

# not connected
c = socket.socket(*UDP)
c.settimeout(5)
warm(c, TO)
own = c.getsockname()
say('bound to', own[0], own[1] != 0)
c.sendto(b'question', TO)
say('from', do("r = s.recvfrom(100); r").replace(str(own[1]), 'PORT'), do("s.sendto(b'answer', r[1])"))
r = c.recvfrom(100)
say(r[0], r[1] == TO)
say('peer', attempt(c.getpeername))

# lengths, cutting, peeking
for n in (0, 1, 411, 412, 413, 1472, 3967, 3968, 3969, 9000, 40000, 65507):
    c.sendto(bytes(i % 251 for i in range(n)), TO)
    say(n, do(f"s.recv(70000) == bytes(i % 251 for i in range({n}))"))
say('too long', attempt(c.sendto, bytes(65508), TO))
c.sendto(b'0123456789', TO)
say(do("s.recv(4, socket.MSG_PEEK)"), do("s.recvmsg(4)[0:3:2]"))
c.sendto(b'0123456789', TO)
say(do("s.recvmsg_into([bytearray(3), bytearray(20)])[0]"), do("now(s)"))
c.sendmsg([b'ab', b'', b'cd'], [], 0, TO)
say(do("s.recv(100)"))
say('nobody named', attempt(c.send, b'x'), attempt(c.sendto, b'x', (AT, 0)))

# many before anybody reads: in order, none lost
for i in range(100):
    c.sendto(b'%d' % i, TO)
say('order', do("[int(s.recv(10)) for i in range(100)] == list(range(100))"), do("now(s)"))

# readiness
do("p = select.poll(); p.register(s, select.POLLIN | select.POLLOUT)")
do("e = select.epoll(); e.register(s, select.EPOLLIN | select.EPOLLET)")
do("e.poll(0)")
say('idle', do("[m for f, m in p.poll(0)]"), do("[m for f, m in e.poll(0)]"), do("select.select([s], [s], [], 0)[0] == []"))
tell("[m for f, m in e.poll(5)]")
c.sendto(b'1', TO)
say('edge', answer(), do("[m for f, m in e.poll(0)]"), do("[m for f, m in p.poll(0)]"), do("select.select([s], [], [], 0)[0] == [s]"))
c.sendto(b'2', TO)
say('edge', do("[m for f, m in e.poll(5)]"), do("[s.recv(9), s.recv(9)]"), do("[m for f, m in p.poll(0)]"))
say('readable', do("__import__('fcntl').ioctl(s, 0x541B, bytes(4))"))
c.sendto(b'12345', TO)
say('readable', do("p.poll(5000) and __import__('fcntl').ioctl(s, 0x541B, bytes(4))"), do("s.recv(9)"))
do("s.settimeout(0.05)")
say('nothing', do("s.recv(9)"))
do("s.settimeout(5)")

# circumstances
do("s.setsockopt(socket.IPPROTO_IP, 8, 1); s.setsockopt(socket.IPPROTO_IP, 12, 1)")
c.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
c.sendto(b'info', TO)
say('info', do("[(l, t, v) for l, t, v in s.recvmsg(100, 200)[1]]"))

# connected
d = socket.socket(*UDP)
d.settimeout(5)
d.connect(TO)
say('connected', d.getsockname()[0], d.getpeername() == TO)
warm(d, None)
d.send(b'one')
say(do("r = s.recvfrom(100); r[0]"), do("r[1]") == repr(d.getsockname()))
say('other', d.sendto(b'two', TO), do("s.recv(100)"))
# it hears from nobody else
port2 = serve('t', (AT, 0))
do(f"t.sendto(b'stranger', {d.getsockname()!r}); s.sendto(b'friend', {d.getsockname()!r})")
say(d.recv(100), now(d))
# the server connects to one client, and hears from no other
do(f"s.connect({d.getsockname()!r})")
c.sendto(b'not for you', TO)
d.send(b'for you')
say(do("s.recv(100)"), do("now(s)"), do("s.send(b'back')"), d.recv(100))
do("import ctypes; ctypes.CDLL(None).connect(s.fileno(), struct.pack('=HHI8x', 0, 0, 0), 16)")
c.sendto(b'for all', TO)
say(do("s.recv(100)"))
# disconnect
import ctypes
ctypes.CDLL(None).connect(d.fileno(), struct.pack('=HHI8x', 0, 0, 0), 16)
say('disconnected', attempt(d.send, b'x'), attempt(d.getpeername))
d.sendto(b'again', TO)
say(do("s.recv(100)"))
d.connect(TO)
d.send(b'and again')
say(do("s.recv(100)"))

# halves
say(attempt(c.shutdown, socket.SHUT_RD), attempt(d.shutdown, socket.SHUT_WR), attempt(d.sendto, b'x', TO))

# a buffer that is full loses what comes
do("s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4000)")
for i in range(300):
    c.sendto(bytes(1000), TO)
n = int(do("drain(s)"))
say('overflow', 0 < n < 300)
c.sendto(b'after', TO)
say(do("s.recv(100)"))

# gone
c.close()
c = socket.socket(*UDP)
c.settimeout(5)
c.connect(TO)
warm(c, None)
do("s.close()")
say('closed', c.send(b'x'), attempt(c.recv, 9), c.send(b'y'), attempt(c.send, b'z'))
say('again', serve('s', TO) == 5300)
say(c.send(b'back'), do("s.recv(9)"))
say('error', c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

# both addresses
w = serve('w', ('0.0.0.0', 0))
for at in ('127.0.0.1', '127.0.0.7', os.environ['OWN']):
    x = socket.socket(*UDP)
    x.settimeout(5)
    x.connect((at, w))
    for i in range(3):
        x.send(b'warm')
        do("w.recv(9)")
    x.send(b'any')
    say(at, x.getsockname()[0], do("r = w.recvfrom(9); r[1][0]"))
    y = socket.socket(*UDP)
    y.settimeout(5)
    warm(y, (at, w), 'w')
    y.sendto(b'any', (at, w))
    say(at, y.getsockname()[0], do("r = w.recvfrom(9); r[1][0]"), do("w.sendto(b'yes', r[1])"), y.recvfrom(9)[1] == (at, w))

# one that binds its port
b = socket.socket(*UDP)
b.settimeout(5)
b.bind((AT, 0))
warm(b, (AT, w), 'w')
b.sendto(b'bound', (AT, w))
say(do("r = w.recvfrom(9); r[1]") == repr(b.getsockname()))

# a child goes on
pid = os.fork()
if not pid:
    b.sendto(b'child', (AT, w))
    assert b.recv(9) == b'to the child'
    os._exit(0)
say(do("r = w.recvfrom(9); r[0]"), do("w.sendto(b'to the child', r[1])"), os.waitpid(pid, 0)[1])
b.sendto(b'parent', (AT, w))
say(do("r = w.recvfrom(9); r[0]"), do("w.sendto(b'to the parent', r[1])"), b.recv(99))

# killed
k = socket.socket(*UDP)
k.settimeout(5)
k.connect((AT, w))
warm(k, None, 'w')
actor.kill()
actor.wait()
say('killed', k.send(b'x'), attempt(k.recv, 9))
END

export ACTOR=$LAB_TMP/actor.py OWN=10.77.0.1 PYTHONWARNINGS=ignore
lab_exec_server ip address add $OWN/32 dev lo
library=$(realpath "$BUILD/.libs/libfastnet.so")
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info

# subject OUT LIBRARY_OF_SUBJECT LIBRARY_OF_ACTOR
subject()
{
	lab_exec_client env LD_PRELOAD="$2" ACTOR_PRELOAD="$3" timeout 60 python3 "$LAB_TMP/subject.py" 127.0.0.1 >"$LAB_TMP/$1" 2>&1 ||
		fail "$1: $(tail -5 "$LAB_TMP/$1")"
}

subject native "" ""
subject mixed-server "" "$library"
diff "$LAB_TMP/native" "$LAB_TMP/mixed-server" || fail "with the server alone under the library it is not as on the kernel"
subject mixed-client "$library" ""
diff "$LAB_TMP/native" "$LAB_TMP/mixed-client" || fail "with the client alone under the library it is not as on the kernel"
[ "$(sed -nE 's/.* udp_out ([0-9]+).*/\1/p' "$LAB_TMP/fastnet.log" | awk '{ n += $1 } END { print n + 0 }')" = 0 ] ||
	fail "something went through shared memory to a process that is not there"
subject both "$library" "$library"
diff "$LAB_TMP/native" "$LAB_TMP/both" || fail "over the fabric it is not as on the kernel"
[ "$(sed -nE 's/.* udp_out ([0-9]+).*/\1/p' "$LAB_TMP/fastnet.log" | awk '{ n += $1 } END { print n + 0 }')" -gt 150 ] ||
	fail "it went through the kernel: $(cat "$LAB_TMP/fastnet.log")"

# ---- what bench/compare measures: all but what went before they had met ----
fabric_serve "$BUILD/bench/server" 7000 udp 1
lab_await_port 7000 || fail "the server does not listen"
ops=$(on_fabric timeout 20 "$BUILD/bench/rr" 127.0.0.1 7000 64 0.2 udp block | sed -nE 's/^ops=([0-9]+) .*/\1/p')
[ "${ops:-0}" -ge 100 ] || fail "round trips of datagrams: $ops"
at_least "$LAB_SERVER_PID" udp_in "$ops"
at_least "$LAB_SERVER_PID" udp_out "$ops"
lab_stop_server || :
