# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Datagrams of processes that came by fork: a socket that several of them read from loses nothing, doubles nothing, and waits for
# nobody who does not read, whoever of them has met the sender; one that has a single reader goes through shared memory,
# and so do the sockets that children make for themselves.
lab_need python3
fabric_make

# A server, and workers of it, that are told by lines what to do.
cat >"$LAB_TMP/server.py" <<'END'
import os, select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0))
s.setblocking(False)
print(s.getsockname()[1], flush=True)

def answer(me):
    try:
        d, a = s.recvfrom(70000)
    except BlockingIOError:	# another one was quicker
        return
    s.sendto(me + d, a)

def worker(me, order, said):
    """go: answers until the next order; quiet: does nothing, and does not even look; own: goes on with a socket of its own; x: asks
    another server as a client."""
    global s
    p = select.poll()
    p.register(order, select.POLLIN)
    while True:
        what = os.read(order, 1)
        if what == b'e':
            os._exit(0)
        if what == b'o':
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(('127.0.0.1', 0))
            s.setblocking(False)
            os.write(said, b'%d\n' % s.getsockname()[1])
        if what == b'x':
            c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            c.settimeout(10)
            for i in range(3000):
                c.sendto(b'%d' % i, ('127.0.0.1', int(sys.argv[1])))
                assert c.recv(10) == b'p%d' % i
            c.close()
        if what in b'go':
            p.register(s, select.POLLIN)
            p.poll(0)
        os.write(said, b'+\n')
        while what in b'go' and not any(fd == order for fd, ev in p.poll()):
            answer(me)

workers = []
for line in sys.stdin:
    what, *rest = line.split()
    if what == 'serve':
        for i in range(int(rest[0])):
            select.select([s], [], [])
            answer(b'p')
    elif what == 'fork':
        order, said = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            for w in workers:
                os.close(w[1])
            worker(b'%d' % len(workers), order[0], said[1])
        workers.append((pid, order[1], os.fdopen(said[0])))
        print(pid, flush=True)
    else:
        pid, order, said = workers[int(rest[0])]
        os.write(order, what[:1].encode())
        if what == 'end':
            os.waitpid(pid, 0)
        elif what == 'own':
            print(said.readline().strip(), flush=True)
        if what != 'end':
            assert said.readline() == '+\n'
    print('done', flush=True)
END

# Who asks: so many questions, each of which has one answer, which is the right one; it says who answered.
cat >"$LAB_TMP/client.py" <<'END'
import socket, sys
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
c.connect(('127.0.0.1', int(sys.argv[1])))
n = 0
for line in sys.stdin:
    who = set()
    for i in range(int(line)):
        n += 1
        q = (b'%d ' % n).ljust(1 + n * 7919 % (60000 if n % 7 == 0 else 300), b'.')
        c.settimeout(10)
        c.send(q)
        r = c.recv(70000)
        assert r[1:] == q, (n, len(q), len(r), r[:20], q[:20])
        who.add(r[:1].decode())
        c.settimeout(0)
        try:
            assert not c.recv(70000), 'two answers to %d' % n
        except BlockingIOError:
            pass
    print(*sorted(who), flush=True)
END

cat >"$LAB_TMP/subject.py" <<'END'
import json, subprocess, sys, time
TMP, STAT, RUN = sys.argv[1], sys.argv[2], sys.argv[3:]

class Server:
    def __init__(self, other=0):
        self.p = subprocess.Popen(RUN + [sys.executable, TMP + '/server.py', str(other)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  bufsize=1)
        self.port = int(self.p.stdout.readline())
    def tell(self, what):
        self.p.stdin.write(what + '\n')
    def said(self):
        what = None
        for line in self.p.stdout:
            if line == 'done\n':
                return what
            what = int(line)
        raise AssertionError('the server has ended')
    def do(self, what):
        self.tell(what)
        return self.said()
    def end(self):
        self.p.kill()
        self.p.wait()

class Client:
    def __init__(self, port):
        self.p = subprocess.Popen(RUN + [sys.executable, TMP + '/client.py', str(port)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, bufsize=1)
    def tell(self, n):
        self.p.stdin.write('%d\n' % n)
    def said(self):
        who = self.p.stdout.readline().split()
        assert who, 'a question was lost, or an answer wrong'
        return set(who)
    def ask(self, n, who):
        self.tell(n)
        got = self.said()
        assert got <= set(who), (got, who)
    def end(self):
        self.p.stdin.close()
        assert self.p.wait() == 0

def find(o, name):
    if isinstance(o, dict):
        if isinstance(o.get(name), int):
            return o[name]
        o = list(o.values())
    for v in o if isinstance(o, list) else []:
        n = find(v, name)
        if n is not None:
            return n

def udp_in(pid):
    if not RUN:
        return 0
    out = subprocess.run([STAT, '--json', str(pid)], stdout=subprocess.PIPE, text=True).stdout
    return (out and find(json.loads(out), 'udp_in')) or 0

def ask_until(c, who, pid, fabric):
    """Before long the stack of that process gets all that is asked, or nothing."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        before = udp_in(pid)
        c.ask(40, who)
        got = udp_in(pid) - before
        if got >= 40 if fabric else got == 0:
            return
    raise AssertionError('over the fabric: %s, wanted: %s' % (got, fabric))

def over_parent(c, s):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        before = udp_in(s.p.pid)
        s.tell('serve 40')
        c.ask(40, 'p')
        s.said()
        if not RUN or udp_in(s.p.pid) - before >= 40:
            return
    raise AssertionError('the parent is not met')

if RUN:
    over, kernel = lambda *a: ask_until(*a, True), lambda *a: ask_until(*a, False)
else:	# the kernel's own: who answers is the same
    over = kernel = lambda c, who, pid: c.ask(40, who)

# ---- workers of a parent that only made the socket ----
s = Server()
pid = [s.do('fork'), s.do('fork')]
s.do('go 0')
a = Client(s.port)
over(a, '0', pid[0])
s.do('go 1')
kernel(a, '01', pid[0])
b = Client(s.port)
b.ask(100, '01')
s.do('quiet 0')		# whoever had met them
a.ask(300, '1')
b.ask(300, '1')
s.do('go 0')
s.do('quiet 1')
a.ask(300, '0')
b.ask(300, '0')
s.do('end 1')
a.ask(300, '0')
b.ask(300, '0')
s.do('end 0')
pid.append(s.do('fork'))	# the only one again
s.do('go 2')
a.end()
a = Client(s.port)
over(a, '2', pid[2])
s.do('end 2')
a.end()
b.end()
s.end()

# ---- a parent that has read from it shares its stack with its children ----
echo = Server()
s = Server(echo.port)
a = Client(s.port)
over_parent(a, s)
pid = [s.do('fork'), s.do('fork')]
s.do('go 0')
a.ask(300, '0')		# of those who were met before whoever reads has what they send
assert not RUN or udp_in(pid[0]) >= 300, udp_in(pid[0])
s.do('go 1')
b = Client(s.port)	# of others the kernel
before = udp_in(pid[0])
b.ask(300, '01')
assert udp_in(pid[0]) == before
a.ask(300, '01')
s.do('quiet 0')
a.ask(300, '1')
b.ask(300, '1')
# children's own sockets
c = Client(s.do('own 0'))
over(c, '0', pid[0])
a.ask(300, '1')
b.ask(300, '1')
c.ask(300, '0')
# children that ask others
before = udp_in(echo.p.pid)
echo.tell('serve 3000')
s.do('x 0')
echo.said()
assert not RUN or udp_in(echo.p.pid) - before > 1000, udp_in(echo.p.pid)
echo.end()
s.do('end 0')
s.do('end 1')
s.tell('serve 600')	# all are the parent's again
a.ask(300, 'p')
b.ask(300, 'p')
s.said()
over_parent(a, s)
over_parent(b, s)
for x in a, b:
    x.end()
c.p.kill()
s.end()

print('right')
END
# The kernel is asked first: the test expects of the library what it does.
[ "$(lab_exec_client timeout 60 python3 "$LAB_TMP/subject.py" "$LAB_TMP" "$STAT")" = right ] || fail "on the kernel"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
[ "$(lab_exec_client timeout 120 python3 "$LAB_TMP/subject.py" "$LAB_TMP" "$STAT" "$RUN")" = right ] || fail "over the fabric"
[ "$(reason_of FABRIC_SHARED python3)" -ge 2 ] || fail "nobody says why it was the kernel: $(cat "$LAB_TMP/fastnet.log")"
