# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Names of other people's listeners: made before the owner makes them, after the port was given up, for clients in a user
# namespace, in another network namespace; and owners who answer with what is no payload memory. The kernel serves then, to
# the last byte, and nothing of the liars stays.
lab_need python3 /usr/bin/python3 setpriv ss unshare
fabric_make
chmod 755 "$LAB_TMP"
touch "$LAB_TMP/fastnet.log"
chmod 666 "$LAB_TMP/fastnet.log"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
python=/usr/bin/python3
start()	# start NAME CMD…: in the background, what it prints in a file of that name
{
	ip netns exec "$LAB_CLIENT_NS" "${@:2}" <&0 >"$LAB_TMP/$1" &
	lab_pids+=("$!")
}
user()	# user NAME CMD…
{
	setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "${@:2}"
}
as_user=(setpriv --regid=65534 --clear-groups)
said()	# said FILE TEXT
{
	await grep -q "$2" "$LAB_TMP/$1" || fail "$1 does not say $2: $(cat "$LAB_TMP/$1")"
}
cat >"$LAB_TMP/squat.py" <<'END'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind('\0%s/%016x' % (os.environ['FABRIC_NAME'], int(sys.argv[1], 16)))
s.listen(10)
print('squats', flush=True)
while True:
    try:
        c = s.accept()[0]
        print('spoken to' if c.recv(1000) else 'left', flush=True)
    except ConnectionResetError:
        print('left', flush=True)
END
cat >"$LAB_TMP/true.py" <<'END'
import os, socket, sys
if sys.argv[1] == 'exec':
    l = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    os.set_inheritable(l.fileno(), True)
    print("ready", flush=True)
    os.read(0, 1)
    os.execv(sys.argv[3], [sys.argv[3], sys.executable, __file__, 'fd', str(l.fileno())])
l = socket.socket(fileno=int(sys.argv[2])) if sys.argv[1] == 'fd' else socket.create_server(("127.0.0.1", int(sys.argv[2])))
print("serves", flush=True)
while True:
    c = l.accept()[0]
    c.sendall(b"true one")
    if c.recv(100) == b"give it up":
        l.close()
        c.sendall(b"given")
        c.recv(100)
        sys.exit()
END
cat >"$LAB_TMP/ask.py" <<'END'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
print(s.recv(100).decode())
END
ask()
{
	lab_exec_client "${@:2}" "$RUN" timeout 30 $python "$LAB_TMP/ask.py" "$1"
}
cookie_of()
{
	lab_exec_client ss -Hltne "sport = :$1" | sed -nE 's/.* sk:([0-9a-f]+).*/\1/p' | head -1
}

# Before: the owner finds its name taken.
mkfifo "$LAB_TMP/go"
exec 8<>"$LAB_TMP/go"
start before $python "$LAB_TMP/true.py" exec 7001 "$RUN" <&8
said before ready
start squat1 "${as_user[@]}" --reuid=65534 $python "$LAB_TMP/squat.py" "$(cookie_of 7001)"
said squat1 squats
echo >&8
said before serves
[ "$(ask 7001)" = "true one" ] || fail "who answers for a name taken before"
[ "$(reason_of FABRIC_FAILED python3)" = 1 ] || fail "and the reason: $(cat "$LAB_TMP/fastnet.log")"
said squat1 left
grep -q "spoken to" "$LAB_TMP/squat1" && fail "the squatter was spoken to"

# A process of another layout has another name: it is not met, and the kernel serves.
start layout $python "$LAB_TMP/true.py" port 7006
said layout serves
FABRIC_NAME=fastnet/listener/99 start other-layout $python "$LAB_TMP/squat.py" "$(cookie_of 7006)"
said other-layout squats
[ "$(ask 7006)" = "true one" ] || fail "who answers beside a process of another layout"
grep -q "spoken to\|left" "$LAB_TMP/other-layout" && fail "a process of another layout was met"

# A user namespace in which owner and squatter look alike.
start alike "${as_user[@]}" --reuid=33 $python "$LAB_TMP/true.py" port 7002
said alike serves
start squat2 "${as_user[@]}" --reuid=1 $python "$LAB_TMP/squat.py" "$(cookie_of 7002)"
said squat2 squats
if user nobody unshare -U true 2>/dev/null; then
	for map in "-U" "-Ur"; do
		[ "$(ask 7002 "${as_user[@]}" --reuid=65534 unshare $map)" = "true one" ] || fail "who answers in a user namespace"
		said squat2 left
		grep -q "spoken to" "$LAB_TMP/squat2" && fail "a user that the namespace does not map is believed"
	done
fi

# Given up, and taken by another, while the first lives and talks on.
start giver "${as_user[@]}" --reuid=1 "$RUN" $python "$LAB_TMP/true.py" port 7003
said giver serves
cat >"$LAB_TMP/given.py" <<'END'
import socket, subprocess, sys
def ask():
    s = socket.create_connection(("127.0.0.1", 7003), 20)
    return s, s.recv(100)
s, said = ask()
s.sendall(b"give it up")
said += b" " + s.recv(100)
p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"})
p.stdout.readline()
t, other = ask()
s.sendall(b"the end")
p.kill()
print(said.decode(), other.decode())
END
sed 's/true one/other one/' "$LAB_TMP/true.py" >"$LAB_TMP/other.py"
got=$(lab_exec_client "$RUN" timeout 30 $python "$LAB_TMP/given.py" setpriv --reuid=33 --regid=33 --clear-groups $python "$LAB_TMP/other.py" port 7003)
[ "$got" = "true one given other one" ] || fail "a port that was given up: $got"

# The owner of a port takes what it is offered, and answers with nonsense.
cat >"$LAB_TMP/owner.py" <<'END'
import array, fcntl, mmap, os, socket, struct, sys, threading
SHRINK, GROW, SEAL, FUTURE = 2, 4, 1, 16
FIXED, ALL = SHRINK | GROW | SEAL, SHRINK | GROW | SEAL | FUTURE
VERSION, SLOTS = int(sys.argv[1]), 1024
RING = (64 + SLOTS * 64 + 4095) & ~4095
HELLO, WELCOME, PAYLOAD, PAGE, INBOX, ATTACH = map(int, sys.argv[2:])
def memory(size, seals, flags=0):
    try:
        fd = os.memfd_create('liar', os.MFD_ALLOW_SEALING | flags)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, 1033, seals)
        return [fd]
    except OSError:	# no huge pages
        return []
def say(s, kind, fds=(), version=VERSION, slots=SLOTS, cookie=1, magic=0x66617374, raw=None):
    m = raw or struct.pack('=IHHiIQ', magic, version, kind, 0, slots, cookie)
    s.sendmsg([m], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])
    for fd in fds:
        os.close(fd)
def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
def attach(inbox, page, lie):
    mine, theirs = pair()
    lie(mine)
    say(inbox, ATTACH, [theirs.detach()])
    mine.settimeout(1)
    try:
        while mine.recv(100):
            pass
    except OSError:
        pass
    mine.close()
def whole(lie):
    def talk(mine):
        say(mine, HELLO, memory(2 * RING, FIXED))
        lie(mine)
    return lambda inbox, page: attach(inbox, page, talk)
def hello(lie):
    return lambda inbox, page: attach(inbox, page, lie)
lies = [
    lambda inbox, page: None,
    lambda inbox, page: say(inbox, ATTACH),
    lambda inbox, page: say(inbox, ATTACH, [os.open('/dev/zero', os.O_RDWR)]),
    lambda inbox, page: say(inbox, ATTACH, [pair()[0].detach()], cookie=0),
    lambda inbox, page: say(inbox, ATTACH, [pair()[0].detach()], cookie=1 << 40),
    lambda inbox, page: say(inbox, ATTACH, [pair()[0].detach()], version=99),
    lambda inbox, page: say(inbox, ATTACH, [os.dup(1) for i in range(200)]),
    lambda inbox, page: say(inbox, 0, memory(1 << 20, ALL), raw=os.urandom(500)),
    lambda inbox, page: inbox.send(b''),
    lambda inbox, page: inbox.send(b'b'),
    lambda inbox, page: page.write(os.urandom(len(page))),
    hello(lambda s: say(s, HELLO)),
    hello(lambda s: say(s, HELLO, memory(2 * RING, GROW))),
    hello(lambda s: say(s, HELLO, memory(4096, FIXED))),
    hello(lambda s: say(s, HELLO, memory(2 * RING, FIXED), version=99)),
    hello(lambda s: say(s, HELLO, memory(2 * RING, FIXED), slots=7)),
    hello(lambda s: say(s, HELLO, memory(2 * RING, FIXED) + [os.dup(1) for i in range(200)])),
    hello(lambda s: say(s, PAYLOAD, memory(1 << 20, ALL))),
    whole(lambda s: say(s, HELLO, memory(2 * RING, FIXED))),
    whole(lambda s: say(s, PAYLOAD)),
    whole(lambda s: say(s, PAYLOAD, memory(1 << 20, SHRINK))),
    whole(lambda s: say(s, PAYLOAD, memory(1 << 20, FIXED))),
    whole(lambda s: say(s, PAYLOAD, memory(1000, ALL))),
    whole(lambda s: say(s, PAYLOAD, memory(2 << 30, ALL))),
    whole(lambda s: say(s, PAYLOAD, memory(0, ALL))),
    whole(lambda s: say(s, PAYLOAD, memory(2 << 20, ALL, os.MFD_HUGETLB))),
    whole(lambda s: say(s, PAYLOAD, [os.open('/dev/zero', os.O_RDWR)])),
    whole(lambda s: say(s, PAYLOAD, list(os.pipe()))),
    whole(lambda s: say(s, PAYLOAD, memory(1 << 20, ALL))),	# right, and then it is gone
]
def take(c):
    while True:
        data, anc, flags, who = c.recvmsg(100, 2000)
        for level, kind, fds in anc:
            if kind == socket.SCM_RIGHTS:
                return array.array('i', fds[:4])[0]
        if not data:
            sys.exit("no descriptor")
def serve(s, lie, again):
    c = s.accept()[0]
    inbox = socket.socket(fileno=take(c))
    page = take(inbox)
    c.close()
    try:
        lie(inbox, mmap.mmap(page, os.fstat(page).st_size))
    except OSError:	# it does not listen to such things
        pass
    if not again:
        s.close()
    inbox.close()
    os.close(page)
    return again
def serve_on(s, lie, times):
    """Clients leave again what somebody has dropped: one drops it a hundred times, the others once, and they go."""
    while serve(s, lie, times > 1):
        times -= 1
def kernels(l):	# whom nobody takes by shared memory, the kernel gives
    while True:
        l.accept()[0].close()
keep = []
for i, lie in enumerate(lies):
    l = socket.create_server(("127.0.0.1", 7100 + i))
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind('\0%s/%016x' % (os.environ['FABRIC_NAME'], struct.unpack('=Q', l.getsockopt(socket.SOL_SOCKET, 57, 8))[0]))
    s.listen(10)
    keep.append((l, s))
    threading.Thread(target=serve_on, args=(s, lie, 1 if i else 100), daemon=True).start()
    threading.Thread(target=kernels, args=(l,), daemon=True).start()
print("lies", len(lies), flush=True)
threading.Event().wait()
END
cat >"$LAB_TMP/believe.py" <<'END'
import os, socket, sys, time
def held():
    """Descriptors but for the bells that threads make when they sleep first, and memory of others."""
    fds = ['/proc/self/fd/' + fd for fd in os.listdir('/proc/self/fd')]
    with open('/proc/self/maps') as f:
        return sum(os.path.lexists(fd) and 'eventfd' not in os.readlink(fd) for fd in fds), sum('memfd:liar' in l or 'fastnet-alone' in l or 'fastnet-page' in l for l in f)
def itself():	# something goes on in shared memory
    with socket.create_server(("127.0.0.1", 0)) as l, socket.create_connection(l.getsockname()) as s, l.accept()[0] as c:
        s.sendall(b"x")
        c.recv(1)
itself()
before = held()
for i in range(int(sys.argv[1])):
    try:
        with socket.create_connection(("127.0.0.1", 7100 + i), 20) as s:
            s.sendall(b"hello " * 1000)
            assert s.recv(100) == b"", i
    except ConnectionError:
        pass
end = time.time() + 10
while held() != before and time.time() < end:
    time.sleep(.02)
    itself()
print("held", held() == before, before, held())
END
peer_h=$TOP/shim/peer.h
types=$(tr -d '\n\t' <"$peer_h" | sed -nE 's/.*enum fn_peer_type \{ FN_PEER_([^}]*) \};.*/\1/p')
[ -n "$types" ] || fail "no message types in $peer_h"
kind()	# kind NAME: its number
{
	tr ',' '\n' <<<"${types// = 1/}" | sed 's/ *FN_PEER_//; s/ //g' | grep -nx "$1" | cut -d: -f1
}
start owner "${as_user[@]}" --reuid=1 $python "$LAB_TMP/owner.py" "$(sed -nE 's/^#define FN_PEER_VERSION\s+//p' "$peer_h")" \
	"$(kind HELLO)" "$(kind WELCOME)" "$(kind PAYLOAD)" "$(kind PAGE)" "$(kind INBOX)" "$(kind ATTACH)"
said owner lies
n=$(sed -n 's/^lies //p' "$LAB_TMP/owner")
got=$(lab_exec_client "$RUN" timeout 60 $python "$LAB_TMP/believe.py" "$n") || fail "owners who lie"
[[ $got = "held True"* ]] || fail "what is left of owners who lied: $got"

# Another network namespace has names of its own; who goes there meets nobody whom it left.
start here "${as_user[@]}" --reuid=1 "$RUN" $python "$LAB_TMP/true.py" port 7004
said here serves
lab_netns "$LAB_CLIENT_NS-2"
ip netns exec "$LAB_CLIENT_NS-2" $python "$LAB_TMP/squat.py" "$(cookie_of 7004)" >"$LAB_TMP/squat4" &
lab_pids+=("$!")
said squat4 squats
ip netns exec "$LAB_CLIENT_NS-2" $python "$LAB_TMP/other.py" port 7004 >"$LAB_TMP/there" &
lab_pids+=("$!")
said there serves
before=$(reason_of FABRIC python3)
[ "$(ask 7004)" = "true one" ] || fail "here"
[ "$(reason_of FABRIC python3)" -gt "$before" ] || fail "here it is not through shared memory"
[ "$(ip netns exec "$LAB_CLIENT_NS-2" "$RUN" $python "$LAB_TMP/ask.py" 7004)" = "other one" ] || fail "there"
cat >"$LAB_TMP/leave.py" <<'END'
import ctypes, socket
s = socket.create_connection(("127.0.0.1", 7004), 20)
assert s.recv(100) == b"true one"
s.sendall(b"go on")
assert ctypes.CDLL(None).unshare(0x40000000) == 0
try:
    socket.create_connection(("127.0.0.1", 7004), 20)
    print("reached")
except OSError as e:
    print("not there")
END
[ "$(lab_exec_client "$RUN" timeout 30 $python "$LAB_TMP/leave.py")" = "not there" ] || fail "who left the namespace reaches it"
