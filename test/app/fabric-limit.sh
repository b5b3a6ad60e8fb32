# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# RLIMIT_NOFILE is the program's: it has all the numbers that it would have without the library, or, where the library's own
# cannot lie above the limit, what it does works all the same.
lab_need python3 setpriv
fabric_make
mkdir -m 755 "$LAB_TMP/for-all"
chmod 755 "$LAB_TMP"
cat >"$LAB_TMP/for-all/limit.py" <<'END'
import errno, os, resource, select, socket, subprocess, sys
TCP = (socket.AF_INET, socket.SOCK_STREAM)
UDP = (socket.AF_INET, socket.SOCK_DGRAM)

def limit(soft, hard):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

def until_full(make):
    got = []
    try:
        while True:
            got.append(make())
    except OSError as e:
        assert e.errno == errno.EMFILE, e
    return got

def read(s, n):
    data = b''
    while len(data) < n:
        data += s.recv(n - len(data)) or sys.exit('end of file')
    return data

def talk(a, b, n=100000):
    a.sendall(b'x' * n)
    read(b, n)

def two(l):
    a = socket.socket(*TCP)
    a.connect(l.getsockname())
    b = l.accept()[0]
    talk(a, b)
    talk(b, a)
    return a, b

def listener():
    l = socket.socket(*TCP)
    l.bind(('127.0.0.1', 0))
    l.listen(100)
    return l

# As libuv's test watcher_cross_stop: many sockets of one port, and a limit that is just enough for them.
def exact(n=2500, beside=32):
    limit(n + beside, n + beside)
    ep = select.epoll()
    sockets = []
    for i in range(n):
        s = socket.socket(*UDP)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('127.0.0.1', sockets[0].getsockname()[1] if sockets else 0))
        ep.register(s, select.EPOLLIN)
        assert s.sendto(b'A' * 1000, sockets[0].getsockname() if sockets else s.getsockname()) == 1000
        sockets.append(s)
    got = sum(len(os.read(fd, 2000)) for fd, what in ep.poll(10))
    print(len(sockets), got > 0)

# A program below its hard limit, with connections: every number.
def every(kind):
    limit(512, 4000)
    l = listener()
    pairs = [two(l) for i in range(3)]
    make = {'socket': lambda: socket.socket(*TCP), 'udp': lambda: socket.socket(*UDP),
            'dup': lambda: os.dup(l.fileno()), 'epoll': select.epoll, 'accept': lambda: two(l),
            'open': lambda: (socket.socket(*TCP), os.open('/dev/null', 0))}[kind]
    some = until_full(make)
    for a, b in pairs:
        talk(a, b)
    missing = [n for n in range(512) if not os.path.exists('/proc/self/fd/%d' % n)]
    print(kind, missing, resource.getrlimit(resource.RLIMIT_NOFILE))

# No number above the limit is to be had: connections are made and accepted until there are none left, and again.
def hard():
    limit(300, 300)
    l = listener()
    first = two(l)
    for i in range(3):
        some = until_full(lambda: two(l))
        for a, b in some:
            talk(a, b)
        talk(*first)
        n = len(some)
        some = None
        l.settimeout(0.1)       # one that was not accepted
        try:
            l.accept()
        except TimeoutError:
            pass
        l.settimeout(None)
        print(n > 120)

# A server near its limit, and clients of other processes: each is served, this way or that.
def crowd(free):
    l = listener()
    clients = [subprocess.Popen([sys.executable, sys.argv[0], 'client', str(l.getsockname()[1])], stdin=subprocess.PIPE,
               stdout=subprocess.PIPE) for i in range(4)]
    for c in clients[:2]:       # these are met before
        c.stdin.write(b'1')
        c.stdin.flush()
        serve(l)
    limit(100, 100)
    full = until_full(lambda: socket.socket(*TCP))
    del full[:int(free)]
    for c in clients:
        c.stdin.write(b'9')
        c.stdin.close()
    for i in range(36):
        serve(l)
    print([c.wait() for c in clients])

def serve(l):
    c = l.accept()[0]
    c.sendall(read(c, 10000))
    c.close()

def client(port):
    while count := os.read(0, 1):
        for i in range(int(count)):
            s = socket.create_connection(('127.0.0.1', int(port)))
            talk(s, s, 10000)
            s.close()

# A server without a number left is sent the means to see the end of a client's image: it needs none for its connections.
def told():
    l = listener()
    c = subprocess.Popen([sys.executable, sys.argv[0], 'splits', str(l.getsockname()[1])], stdin=subprocess.PIPE,
               stdout=subprocess.PIPE)
    conns = [l.accept()[0] for i in range(2)]
    for s in conns:
        s.sendall(read(s, 1))
    c.stdout.read(1)
    limit(100, 100)
    full = until_full(lambda: os.open('/dev/null', os.O_RDONLY))
    c.stdin.write(b'1')
    c.stdin.flush()
    c.stdout.read(1)
    for i in range(3):
        for s in conns:
            s.sendall(b'x' * 1000)
            read(s, 1000)
    os.closerange(min(full), max(full) + 1)
    c.stdin.close()
    print(c.wait())

def splits(port):
    conns = [socket.create_connection(('127.0.0.1', int(port))) for i in range(2)]
    for s in conns:
        s.sendall(b'x')
        read(s, 1)
    os.write(1, b'1')
    os.read(0, 1)
    r, w = os.pipe()
    if os.fork() == 0:
        conns[0].close()
        os.write(1, b'1')
        os.close(w)
        os.read(r, 1)
        os._exit(0)
    os.close(r)
    for i in range(3):
        for s in conns:
            s.sendall(read(s, 1000))
    os.read(0, 1)

globals()[sys.argv[1]](*sys.argv[2:])
END
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
# both WHAT...: the same natively and through shared memory.
both()
{
	local native ours

	# shellcheck disable=SC2086
	native=$(lab_exec_client $nobody timeout 60 python3 "$LAB_TMP/for-all/limit.py" "$@" 2>&1) || fail "natively: $*: $native"
	# shellcheck disable=SC2086
	ours=$(lab_exec_client $nobody "$RUN" timeout 60 python3 "$LAB_TMP/for-all/limit.py" "$@" 2>&1) ||
		fail "$*: $ours"
	[ "$native" = "$ours" ] || fail "$*: $ours, natively $native"
	echo "$*: $ours"
}
both exact
for kind in socket udp dup epoll accept open; do
	both every $kind
done
both hard
both told
for free in 1 4 20 50; do
	both crowd $free
done
