# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A server of processes that share a stack, of which one is killed while all others sleep in calls that the library does
# not see, and nobody waits for it: whoever is connected to it hears of that as on the kernel, and at once, in recv and in
# epoll_wait, has read all that it wrote before, and is reset when it left something unread. What a living one has as
# well lives on.
lab_need python3
fabric_make
cat >"$LAB_TMP/asleep.py" <<'END'
import errno, os, select, signal, socket, sys, time
how = sys.argv[1:]
told, tell = os.pipe()
quiet, done = os.pipe()
wait, go = os.pipe()

def sleep():    # until nobody has the other end
    os.close(done)
    os.read(quiet, 1)
    os._exit(0)

def victim(c):
    if 'words' in how:
        c.sendall(b'last words' * 4000)
    if 'read' in how:
        got = 0
        while got < 10:
            got += len(c.recv(100))
    if 'unread' in how:
        select.select([c], [], [])
    os.write(tell, b'%8d' % os.getpid())
    sleep()

def server(l):
    first = l.accept()[0]       # the stack lives on with the one that serves this
    if 'split' in how:
        os.read(wait, 1)
    c = None if 'accepts' in how else l.accept()[0]
    pid = os.fork()
    if pid == 0:
        c = c or l.accept()[0]
        if 'both' in how and os.fork() == 0:
            sleep()
        if 'closes' in how and os.fork() == 0:
            os.read(wait, 1)
            c.close()
            sleep()
        first.close()
        victim(c)
    if c:
        c.close()
    sleep()

def connect(at):
    first, s = socket.create_connection(at), socket.create_connection(at)
    if 'read' in how or 'unread' in how:
        s.sendall(b'its orders')
    return first, s

def read(s):
    got, ep = 0, select.epoll()
    ep.register(s, select.EPOLLIN)
    s.settimeout(2)
    while True:
        if 'epoll' in how and not ep.poll(2):
            return got, 'nothing'
        try:
            d = s.recv(4096)
        except socket.timeout:
            return got, 'nothing'
        except OSError as e:
            return got, errno.errorcode[e.errno]
        if not d:
            return got, 'end'
        assert d == (b'last words' * 411)[got % 10:][:len(d)], 'other bytes'
        got += len(d)

def write(s):   # to one that is not there: a reset comes of it
    for i in range(1000):
        try:
            s.sendall(b'x' * 4000)
        except socket.timeout:
            return 'it hangs'
        except OSError as e:
            return errno.errorcode[e.errno]
        time.sleep(0.001)
    return 'goes on'

# Another process of the client's is in the library meanwhile: what the server's send of each other is read there.
def split(first, s):
    pid = os.fork()
    if pid == 0:
        s.close()
        os.write(go, b'x')
        first.recv(1)
    return pid

def client(at):
    first, s = connect(at)
    other = split(first, s) if 'split' in how else None
    pid = int(os.read(told, 8))
    os.kill(pid, signal.SIGKILL)
    if 'closes' in how:     # the last one to have it
        print(*read(s), flush=True)
        os.write(go, b'x')
    begin = time.monotonic()
    said = read(s)
    took = time.monotonic() - begin
    print(*how, *said, 'late' if said[1] == 'nothing' or took > 1 else 'at once', flush=True)
    if 'writes' in how:
        print(write(s), flush=True)
    first.settimeout(0.2)
    try:
        print('the other connection:', first.recv(1), flush=True)
    except socket.timeout:
        print('the other connection lives', flush=True)
    if other:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)

l = socket.socket()
l.bind(('127.0.0.1', 0))
l.listen(16)
if 'family' in how:     # the client is a member, too: it has a connection with its parent
    mine = socket.create_connection(l.getsockname())
    other = l.accept()[0]
third = os.fork() if 'third' in how else None
if third == 0:          # nobody's end, but in the library
    mine.recv(1)
pid = os.fork()
if pid == 0:
    server(l)
os.close(quiet)
at = l.getsockname()
l.close()
client(at)
if third:
    os.kill(third, signal.SIGKILL)
    os.waitpid(third, 0)
os.close(done)
os.waitpid(pid, 0)
END
for how in accepted accepts "accepts words" "accepted words epoll" "accepts read writes" "accepted read words" "accepts unread" \
	"accepted unread words" "accepted both" "family accepted" "family accepts words" "family accepts unread" "family both" \
	"split accepts" "split accepted words" "split accepts unread" "accepted closes" \
	"family third accepts words" "family third accepts unread"; do
	lab_exec_client timeout 60 python3 "$LAB_TMP/asleep.py" $how >"$LAB_TMP/kernel" || fail "asleep.py $how fails on the kernel"
	on_fabric timeout 60 python3 "$LAB_TMP/asleep.py" $how >"$LAB_TMP/fabric" || fail "asleep.py $how"
	if ! diff "$LAB_TMP/kernel" "$LAB_TMP/fabric"; then echo "$how: not as on the kernel"; wrong=1; fi
done
[ -z "${wrong:-}" ] || fail "the death of a member whose family sleeps is not seen"
[ "$(reason_of FABRIC python3)" -ge 10 ] || fail "not through shared memory"
