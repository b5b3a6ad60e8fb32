# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A process that lies: messages, memory files and rings that cannot be, names of other people's listeners. The server goes on
# serving others, and holds nothing of the liar afterwards.
lab_need redis-server redis-cli python3 /usr/bin/python3 setpriv ss
fabric_make
chmod 755 "$LAB_TMP"
fabric_serve redis-server --port 6379 --bind 127.0.0.1 --dir "$LAB_TMP" --save ''
await lab_exec_client redis-cli ping || fail "no answer through the kernel"
pid=$LAB_SERVER_PID
cookie_of()
{
	lab_exec_client ss -Hltne "sport = :$1" | sed -nE 's/.* sk:([0-9a-f]+).*/\1/p' | head -1
}
held()
{
	echo "$(find "/proc/$pid/fd" -mindepth 1 | wc -l) $(grep -c fastnet- "/proc/$pid/maps")"
}
# The server looks ten times a second, at the latest, whether somebody has gone.
looks()
{
	for _ in {1..20}; do
		held
		read -r -t 0.05 <> <(:) || :
	done
}
settled()
{
	[ "$(on_fabric timeout 10 redis-cli ping)" = PONG ] && looks | grep -qx "$1"
}
on_fabric redis-cli ping >/dev/null
before=$(looks | sort -n | head -1)
await settled "$before" || fail "what one client leaves behind grows"
fabric_lying
cat >"$LAB_TMP/liar.py" <<'END'
import array, mmap, os, random, select, socket, struct, sys, time
from lying import *
cookie, seeds = int(sys.argv[1], 16), range(int(sys.argv[2]))
NAME = name_of(cookie)
OPEN_AT, CLAIMS_AT, STATE_AT, TICKET_AT = 64, 128, 192, 192 + 512 * 8
SLOT_AT = TICKET_AT + 512 * 4
BYTES_AT = (SLOT_AT + 512 * 128 + 4095) & ~4095
PAGE_SIZE = BYTES_AT + 512 * 65536 + (4 << 20)

def say(s, kind, fds=(), version=VERSION, slots=SLOTS, magic=0x66617374, what=None, status=0):
    m = struct.pack('=IHHiIQ', magic, version, kind, status, slots, cookie if what is None else what)
    s.sendmsg([m], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])

def pair():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    a.settimeout(10)
    return a, b

def meet():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10)
    s.connect(NAME)
    return s

def hear(s):
    """The next message: its kind and its descriptors; None: the end."""
    while True:
        try:
            data, anc, flags, who = s.recvmsg(100, 200)
        except ConnectionResetError:
            continue
        fds = []
        for level, kind, fd in anc:
            if kind == socket.SCM_RIGHTS:
                fds += array.array('i', fd[:len(fd) // 4 * 4])
        if not data:
            return None, fds
        if len(data) == 24:
            return struct.unpack('=IHHiIQ', data)[2], fds

def close(fds):
    for fd in fds:
        os.close(fd)

def page(pages=256):
    """pages: of its maker's payload memory, as he says."""
    fd, m = memory(PAGE_SIZE, FIXED)
    struct.pack_into('=I', m, 8, pages)
    return fd, m

payload = lambda: memory(1 << 20, FIXED | FUTURE)

def offer():
    """Page and inbox, as an honest process leaves them; who accepts introduces himself."""
    s, (mine, theirs), (fd, m) = meet(), pair(), page()
    say(mine, PAGE, [fd])
    say(s, INBOX, [theirs.fileno()])
    theirs.close()
    os.close(fd)
    kind, fds = hear(mine)
    assert kind == ATTACH and len(fds) == 1, (kind, fds)
    sock = socket.socket(fileno=fds[0])
    sock.settimeout(10)
    kind, fds = hear(sock)
    assert kind == HELLO, kind
    ring = mmap.mmap(fds[0], 2 * RING)
    close(fds)
    kind, fds = hear(sock)
    assert kind == PAYLOAD, kind
    close(fds)
    return s, mine, m, sock, ring

refused = 0
for how in range(13):
    s, (mine, theirs), (fd, m) = meet(), pair(), page()
    if how == 0: say(mine, PAGE, [fd], version=VERSION + 1)
    if how == 1: say(mine, PAGE)
    if how == 3: say(mine, PAGE, [memory(PAGE_SIZE, GROW)[0]])
    if how == 4: say(mine, PAGE, [memory(4096, FIXED)[0]])
    if how == 5: say(mine, PAGE, [os.open('/dev/zero', os.O_RDWR)])
    if how == 6: say(s, HELLO, [fd])
    if how == 7: s.send(b'')
    if how == 8: say(mine, PAGE, [fd], magic=1)
    if how == 9: say(s, PAGE, [fd])
    if how == 10: say(s, INBOX, [fd])
    if how == 11: say(mine, PAGE, [page(0)[0]])
    if how == 12: say(mine, PAGE, [page((1 << 18) + 1)[0]])
    if how not in (6, 7, 9, 10): say(s, INBOX, [theirs.fileno()])
    assert hear(s)[0] is None, how
    if how in (11, 12):
        theirs.close()
        assert hear(mine)[0] is None, how
    refused += 1
for how in range(4):
    s, mine, m, sock, ring = offer()
    if how == 0: say(sock, WELCOME, [payload()[0]], status=-1)
    if how == 1: say(sock, WELCOME, [memory(1 << 20, FIXED)[0]])
    if how == 2: say(sock, WELCOME, [memory(1000, FIXED | FUTURE)[0]])
    if how == 3: say(sock, PAYLOAD, [payload()[0]])
    assert hear(sock)[0] is None, how
    refused += 1

def slot(r, m):
    """A connection that is offered, more or less."""
    i = r.randrange(512)
    th = bytearray(60)
    struct.pack_into('!HHIIBBHHH', th, 0, r.randrange(65536), r.choice([6379, 6379, r.randrange(65536)]), r.randrange(1 << 32),
        r.randrange(1 << 32), r.choice([0x50, 0x60, 0xf0, 0x10, r.randrange(256)]), r.choice([2, 2, 2, 18, r.randrange(256)]), 1000, 0, 0)
    th[20:] = r.choice([bytes([2, 4, 255, 215, 1, 3, 3, 7]) + bytes(32), r.randbytes(40)])
    at = SLOT_AT + i * 128
    m[at:at + 72] = b'\x7f\0\0\1' + r.choice([b'\x7f\0\0\1', r.randbytes(4)]) + r.randbytes(4) + bytes(th)
    n = r.choice([0, 0, 10, 5000, 65535])
    m[BYTES_AT + i * 65536:BYTES_AT + i * 65536 + n] = (b'PING\r\n' * 11000)[:n]
    struct.pack_into('=Q', m, STATE_AT + i * 8, r.choice([1, 1, 1, 17, 33, 49, r.randrange(256)]) | r.randrange(1 << 16) << 32 | n << 48)
    struct.pack_into('=I', m, TICKET_AT + i * 4, r.randrange(1 << 32))
    at = OPEN_AT + i // 64 * 8
    struct.pack_into('=Q', m, at, struct.unpack_from('=Q', m, at)[0] | 1 << i % 64)
    struct.pack_into('=I', m, 0, r.randrange(1 << 32))

def entry(r, pos):
    """One that looks like an entry: its mark is right, the rest is not."""
    n = r.choice([0, 1, 20, 40, 60, 119, 440, 512, 513, 65535])
    body = bytearray(r.randbytes(min(n, 512)))
    if r.random() < .7 and len(body) >= 40:
        places = r.randrange(3)
        at = places * 8
        for i in range(places):
            struct.pack_into('=IHH', body, i * 8, r.choice([0, 5, 255, 256, 1 << 31]), r.randrange(4200), r.randrange(4200))
        if at + 40 <= len(body):
            body[at:at + 40] = struct.pack('!BBHHHBBH4s4s', 0x45, 0, r.choice([40, len(body) - at, 9]), 0, 0, 64,
                r.choice([6, 6, 6, 17, 1]), 0, b'\x7f\0\0\1', b'\x7f\0\0\1') + struct.pack('!HHIIBBHHH',
                r.randrange(65536), 6379, r.randrange(1 << 32), r.randrange(1 << 32), r.choice([0x50, 0x60, 0xf0, 0x10]),
                r.choice([2, 2, 16, 17, 4, 18, 0x29]), 1000, 0, 0)
    else:
        places = r.randrange(256)
    head = struct.pack('=IHBB', (pos * 2 + 1) & 0xffffffff, n, r.choice([1, 1, 1, 2, 77]), places)
    return (head + body).ljust((8 + len(body) + 63) // 64 * 64, b'\0'), (n + 8 + 63) // 64

HOLDER, DEAD = 9, os.pidfd_open(gone := os.spawnlp(os.P_NOWAIT, 'true', 'true'))
os.waitpid(gone, 0)
epoll = select.epoll()
THINGS = [DEAD, DEAD, os.pidfd_open(1), os.pidfd_open(os.getpid()), os.eventfd(1), os.memfd_create('x'),
    os.open('/dev/null', os.O_RDWR), os.open('/proc/self/fdinfo', os.O_RDONLY), os.pipe()[1], epoll.fileno()]

def holder(r, s, p):
    """An image of ours that lives or not, and what it holds (shm_left.c: struct region_head, struct table)."""
    place, life = r.choice([0, 1, 63, 64, 1 << 31]), r.randrange(3)
    struct.pack_into('=IIIII', p, 0, 256, 0, 1, 1, 1)
    struct.pack_into('=I', p, 8 + place % 64 * 4, life)
    for i in range(20):
        struct.pack_into('=I', p, 8 + 256 + i * 4, r.choice([0, 1, 2, 255, 256, 1 << 31]))
        struct.pack_into('=4s4sHHHHIIQ', p, 4096 + 32 + i * 32, b'\x7f\0\0\1', b'\x7f\0\0\1', r.randrange(65536), 6379,
            r.randrange(9), 0, r.randrange(1 << 32), r.randrange(3), r.choice([1, 2, 3, 1 << 63, r.randrange(1 << 64)]))
    say(s, HOLDER, r.choice([[], [r.choice(THINGS)], [r.choice(THINGS)], r.sample(THINGS, 3)]), what=place | life << 32)

def send(s):
    try:
        s.send(b'!')
        return True
    except OSError:
        return False

for seed in seeds:
    r = random.Random(seed)
    s, mine, m, sock, c = offer()
    pfd, p = payload()
    say(sock, WELCOME, [pfd])
    os.close(pfd)
    pos = 0
    for i in range(r.randrange(1, 60)):
        if r.random() < .1:
            c[:64] = r.randbytes(64)
        if r.random() < .1:
            c[RING:RING + 64] = r.randbytes(64)
        if r.random() < .05:
            at = r.randrange(RING - 256)
            c[at:at + 256] = r.randbytes(256)
        if r.random() < .2:
            slot(r, m)
        if r.random() < .1:
            try:
                holder(r, sock, p)
            except OSError:
                break
        if r.random() < .1:
            at = r.randrange(SLOT_AT)
            m[at:at + 64] = r.randbytes(64)
        e, slots = entry(r, pos)
        at = RING + 64 + pos % SLOTS * 64
        if at + len(e) > RING + 64 + SLOTS * 64:
            break
        c[at:at + len(e)] = e
        pos += slots
        if r.random() < .5 and not send(sock):
            break
    p[:] = r.randbytes(1 << 20)
    send(sock)
    for x in s, mine, sock, m, c, p:
        x.close()
print('lied', refused)

# All that it can say of connections which nobody holds, and much to be looked through for each; none of them is there.
s, mine, m, sock, c = offer()
size = 64 << 20
pfd, p = memory(size, FIXED | FUTURE)
struct.pack_into('=I', c, 16, 5)
struct.pack_into('=II', p, 0, size // 4096, 0)
struct.pack_into('=I', p, 8, 1)
struct.pack_into('=900I', p, 8 + 256, *[1] * 900)
for i in range(127):
    struct.pack_into('=4s4sHHHHIIQ', p, 4096 + 32 + i * 32, b'\x7f\0\0\1', b'\x7f\0\0\1', i, 6379, 5, 0, 0, 0, 1)
say(sock, WELCOME, [pfd])
say(sock, HOLDER, [DEAD], what=1 << 32)
other = socket.create_connection(('127.0.0.1', 6379), 60)
longest, begin = 0, time.monotonic()
while (start := time.monotonic()) < begin + 1:
    other.sendall(b'PING\r\n')
    assert other.recv(100) == b'+PONG\r\n'
    longest = max(longest, time.monotonic() - start)
print('others wait', 'no longer' if longest < 1 else longest)
END
lies=200
[ -z "$LONG" ] || lies=2000
said=$(lab_exec_client timeout 100 python3 "$LAB_TMP/liar.py" "$(cookie_of 6379)" $lies) || fail "the liar: $said"
[ "$said" = $'lied 17\nothers wait no longer' ] || fail "the liar says $said"
await settled "$before" || fail "held before: $before, after the liar: $(held)"

# Another user's processes take no more than their share of places, whatever they do with them.
cat >"$LAB_TMP/crowd.py" <<'END'
import os, socket, sys
crowd = []
for i in range(900):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect('\0%s/%016x' % (os.environ['FABRIC_NAME'], int(sys.argv[1], 16)))
    crowd.append(s)
print('here', flush=True)
sys.stdin.read()
END
mkfifo "$LAB_TMP/stay"
exec 8<>"$LAB_TMP/stay"
# Twelve messages (the empty one is as an end), and nearly every ring.
liar_counted()
{
	refused=$(counter "$pid" fabric_refused)
	[ "$refused" -ge 200 ]
}
await liar_counted || fail "$refused refusals of the liar are counted"
ip netns exec "$LAB_CLIENT_NS" setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 "$LAB_TMP/crowd.py" \
	"$(cookie_of 6379)" <"$LAB_TMP/stay" 8>&- >"$LAB_TMP/crowd" &
lab_pids+=($!)
await grep -q here "$LAB_TMP/crowd" || fail "no crowd"
more_refused()
{
	[ "$(on_fabric timeout 10 redis-cli ping)" = PONG ] && [ $(($(counter "$pid" fabric_refused) - refused)) -ge 388 ]
}
await more_refused || fail "a crowd of strangers is let in: $(($(counter "$pid" fabric_refused) - refused)) refused"
[ "$(reason_of FABRIC_FAILED redis-cli)" = 0 ] || fail "a crowd of strangers keeps others out"
exec 8>&-
await settled "$before" || fail "held before: $before, after the crowd: $(held)"

# Somebody else's port: a name for it does not make one its owner.
cat >"$LAB_TMP/squat.py" <<'END'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind('\0%s/%016x' % (os.environ['FABRIC_NAME'], int(sys.argv[1], 16)))
s.listen(10)
print('squats', flush=True)
c = s.accept()[0]
print('spoken to' if c.recv(1000) else 'left', flush=True)
END
lab_exec_client python3 -c '
import socket
l = socket.create_server(("127.0.0.1", 7001))
print("ready", flush=True)
c = l.accept()[0]
c.sendall(b"true one")' >"$LAB_TMP/true" &
lab_pids+=($!)
await grep -q ready "$LAB_TMP/true" || fail "no true server"
lab_exec_client setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 "$LAB_TMP/squat.py" "$(cookie_of 7001)" \
	>"$LAB_TMP/squat" &
lab_pids+=($!)
await grep -q squats "$LAB_TMP/squat" || fail "the squatter does not squat"
said=$(on_fabric timeout 10 python3 -c '
import socket
print(socket.create_connection(("127.0.0.1", 7001)).recv(100).decode())')
[ "$said" = "true one" ] || fail "who answers for the port of another: $said"
await grep -q left "$LAB_TMP/squat" || fail "the squatter was $(cat "$LAB_TMP/squat")"
