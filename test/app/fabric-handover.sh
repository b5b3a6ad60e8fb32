# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A listener goes over to another program image, and with it what its clients have left in shared memory: over exec, in a
# message, when nginx replaces its binary under load. Nothing that waits is lost, nobody waits in vain.
lab_need python3 nginx ab curl
fabric_make
cat >"$LAB_TMP/images.py" <<'END'
import array, os, select, signal, socket, sys, time

def say(*what):
    print(*what, flush=True)

def served(l, me, n):
    for i in range(n):
        c, who = l.accept()
        what = c.recv(100)
        c.sendall(me + b' ' + what)
        c.close()

def listener():
    l = socket.socket()
    l.bind(('127.0.0.1', 0))
    l.listen(100)
    return l

def client(at, n, text=b'x'):
    """Connections that wait, with what they say."""
    held = []
    for i in range(n):
        s = socket.create_connection(at, 20)
        s.sendall(text)
        held.append(s)
    return held

def answers(held):
    got = set()
    for s in held:
        try:
            got.add(s.recv(100))
        except OSError as e:
            got.add(e.errno)
        s.close()
    return sorted(got, key=str)

def child(fn, *args):
    pid = os.fork()
    if pid == 0:
        try:
            fn(*args)
            os._exit(0)
        finally:
            os._exit(1)
    return pid

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def execute(l, *args):
    os.set_inheritable(l.fileno(), True)
    os.execv(sys.executable, [sys.executable, sys.argv[0], *map(str, args), str(l.fileno())])

# The server executes itself in its place while connections wait that it has not accepted.
def in_place(order):
    l = listener()
    os.write(order[1], b'%6d' % l.getsockname()[1])
    served(l, b'old', 1)
    os.read(order[2], 1)
    execute(l, 'serve', 'new', 22)

# Its child does, and it goes on holding the listener without accepting.
def by_child(order):
    l = listener()
    os.write(order[1], b'%6d' % l.getsockname()[1])
    served(l, b'old', 1)
    os.read(order[2], 1)
    ended(child(execute, l, 'serve', 'new', 22))

def send_away(u, l):
    u.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [l.fileno()]))])

def received(u):
    _, anc, _, _ = u.recvmsg(1, socket.CMSG_SPACE(4))
    return socket.socket(fileno=array.array('i', anc[0][2])[0])

# It gives the listener away in a message to one who is nobody's child.
def give_away(order, taker):
    l = listener()
    os.write(order[1], b'%6d' % l.getsockname()[1])
    served(l, b'old', 1)
    path = '\0handover%d' % os.getpid()
    u = socket.socket(socket.AF_UNIX)
    u.bind(path)
    u.listen()
    pid = os.posix_spawn(sys.executable, [sys.executable, sys.argv[0], taker, path[1:]], os.environ)
    c, who = u.accept()
    os.read(order[2], 1)
    send_away(c, l)
    return l, c, pid

# It closes its own when that one waits for clients.
def in_message(order):
    l, c, pid = give_away(order, 'take')
    while not readable(c):      # as a server does that goes on waiting
        readable(l)
    c.recv(1)
    l.close()
    c.sendall(b'y')
    ended(pid)

# It is killed before it has answered what that one asks, who does something else then: for a while nobody is there.
def killed(order):
    l, c, pid = give_away(order, 'take_late')
    c.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)

def readable(s):
    return bool(select.select([s], [], [], .05)[0])

def taken(name):
    u = socket.socket(socket.AF_UNIX)
    u.connect('\0' + name)
    return u, received(u)

def take(name):
    u, l = taken(name)
    readable(l)
    u.sendall(b'y')
    u.recv(1)
    served(l, b'new', 22)

def take_late(name):
    u, l = taken(name)
    u.sendall(b'y')
    u.recv(1)
    time.sleep(.3)
    served(l, b'new', 22)

# It gave the listener away before it listened: the kernel's connections are all that it will see. The other one listens
# too, and closes without having accepted what came to both of them.
def sent_first():
    l = socket.socket()
    l.bind(('127.0.0.1', 0))
    (u, theirs), (r, w) = socket.socketpair(), os.pipe()
    pid = child(take_sent, theirs, r)
    send_away(u, l)
    l.listen(100)
    os.write(w, b'x')
    u.recv(1)
    l.settimeout(20)
    served(l, b'sender', 19)
    say('sent_first', ended(pid))

def take_sent(u, r):
    os.read(r, 1)               # until it listens
    l = received(u)
    l.listen(100)
    held = client(l.getsockname(), 20)
    served(l, b'taker', 1)
    l.close()
    u.sendall(b'y')
    say('sent_first', answers(held))

# It sends away a listener from which it accepts nothing itself, and sleeps.
def sent_idle():
    l = listener()
    u, theirs = socket.socketpair()
    pid = os.posix_spawn(sys.executable, [sys.executable, sys.argv[0], 'take_sole', str(theirs.fileno())], os.environ,
                         file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno())])
    theirs.close()
    send_away(u, l)
    u.recv(1)
    clients = child(lambda: say('sent_idle', answers(client(l.getsockname(), 20))))
    say('sent_idle', ended(clients), ended(pid))

def take_sole(fd):
    u = socket.socket(fileno=fd)
    l = received(u)
    u.sendall(b'y')
    served(l, b'taker', 20)

def go(way):
    r, w = os.pipe()
    r2, w2 = os.pipe()
    pid = child(way, (r, w, r2))
    at = '127.0.0.1', int(os.read(r, 6))
    say(way.__name__, answers(client(at, 1)))
    held = client(at, 20, b'waits')
    os.write(w2, b'x')
    say(way.__name__, answers(held))
    say(way.__name__, answers(client(at, 2, b'after')))
    say(way.__name__, ended(pid))

if sys.argv[1] == 'serve':
    if [v for v in os.environ if v.startswith('FASTNET_HANDOVER')]:
        say('the variable stays')
    served(socket.socket(fileno=int(sys.argv[4])), sys.argv[2].encode(), int(sys.argv[3]))
elif sys.argv[1] in ('take', 'take_late'):
    {'take': take, 'take_late': take_late}[sys.argv[1]](sys.argv[2])
elif sys.argv[1] == 'take_sole':
    take_sole(int(sys.argv[2]))
elif sys.argv[1] in ('sent_first', 'sent_idle'):
    {'sent_first': sent_first, 'sent_idle': sent_idle}[sys.argv[1]]()
else:
    go({f.__name__: f for f in (in_place, by_child, in_message, killed)}[sys.argv[1]])
END
both_ways()	# WAY
{
	(cd "$LAB_TMP" && lab_exec_client timeout 60 python3 images.py "$1") >"$LAB_TMP/kernel" 2>&1 ||
		fail "on the kernel: $(cat "$LAB_TMP/kernel")"
	: >"$LAB_TMP/fastnet.log"
	(cd "$LAB_TMP" && on_fabric timeout 60 python3 images.py "$1") >"$LAB_TMP/fabric" 2>&1 ||
		fail "$1: $(cat "$LAB_TMP/fabric")"
	diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "$1 differs from the kernel: $(cat "$LAB_TMP/kernel")"
}
for way in in_place by_child in_message killed; do
	both_ways $way
	[ "$(wc -l <"$LAB_TMP/fabric")" = 4 ] || fail "$way said too little"
	[ "$(reason_of FABRIC 'python3[.0-9]*')" = 23 ] || fail "$way: not through shared memory: $(cat "$LAB_TMP/fastnet.log")"
done
both_ways sent_first
[ "$(wc -l <"$LAB_TMP/fabric")" = 2 ] || fail "sent_first said too little"
both_ways sent_idle
[ "$(wc -l <"$LAB_TMP/fabric")" = 2 ] || fail "sent_idle said too little"
