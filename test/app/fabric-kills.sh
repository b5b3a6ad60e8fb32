# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Ends of connections under traffic are killed at random moments, the one that connected and the one that accepted in turn.
# Whoever survives reads all that was sent, byte for byte, and then the end, or a reset when the dead one had left something
# unread. It holds no more descriptors, mappings and sockets in the end than in the beginning.
lab_need python3
fabric_make
kills=${LONG:+2000}
cat >"$LAB_TMP/kills.py" <<'END'
import mmap, os, random, select, signal, socket, struct, sys
kills, warm = int(sys.argv[1]), 20
WROTE, READ = 0, 8
told = mmap.mmap(-1, 4096)      # what the victim has sent and read, as far as it came to say so
PERIOD = 2048                   # of the pattern
PATTERN = bytes(i * 131 >> 3 & 255 for i in range(PERIOD)) * 32
CHUNK = 40000

def pattern(at, n):
    return PATTERN[at % PERIOD:][:n]

class End:
    def __init__(self, c, rng, told=None):
        self.c, self.rng, self.told = c, rng, told
        self.sent = self.got = 0
        self.lazy = rng.random() < 0.3          # does not read
        c.setblocking(False)
        if rng.random() < 0.5:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    def write(self):
        try:
            self.sent += self.c.send(pattern(self.sent, self.rng.choice((1, 60, 500, 4000, CHUNK))))
            if self.told:
                self.told[WROTE:WROTE + 8] = struct.pack('Q', self.sent)
        except BlockingIOError:
            pass
    def read(self):     # b'': the end
        try:
            d = self.c.recv(CHUNK)
        except BlockingIOError:
            return b'nothing'
        assert d == pattern(self.got, len(d)), 'other bytes'
        self.got += len(d)
        if self.told:
            self.told[READ:READ + 8] = struct.pack('Q', self.got)
        return d

def victim(l, at, rng):
    c = l.accept()[0] if l else socket.create_connection(at, 20)
    end = End(c, rng, told)
    os.write(ready[1], b'x')
    if rng.random() < 0.5:      # else it may have been accepted or not
        os.read(go[0], 1)
    while True:
        ins, outs, _ = select.select([] if end.lazy else [c], [c], [], 10)
        if outs:
            end.write()
        if ins:
            end.read()

def survivor(c, rng):
    """Until the other one has gone; what it saw."""
    end, writes = End(c, rng), rng.random() < 0.8
    try:
        while True:
            ins, outs, _ = select.select([c], [c] if writes else [], [], 20)
            assert ins or outs, 'it hangs'
            if outs:
                try:
                    end.write()
                except (ConnectionResetError, BrokenPipeError) as e:
                    writes = False
                    if isinstance(e, ConnectionResetError):
                        while True:     # the error is told once
                            if not end.read():
                                return 'reset', end
            if ins and not end.read():
                return 'end', end
    except ConnectionResetError:
        return 'reset', end

def judge(how, end):
    wrote, read = struct.unpack('QQ', told[:16])
    assert end.got >= wrote, '%d bytes of %d that were sent were read, %s' % (end.got, wrote, how)
    if how == 'end':    # it may have read what it did not come to tell
        assert end.sent - read <= CHUNK, 'an end, and %d bytes were left unread' % (end.sent - read)
    else:
        assert end.sent > read, 'a reset, and all %d bytes had been read' % read

def surviving():
    """Serves one victim after another, as it is told to."""
    mine = socket.create_server(('127.0.0.1', 0))
    os.write(up[1], b'%8d' % mine.getsockname()[1])
    rng, ends = random.Random(1), {'end': 0, 'reset': 0}
    while True:
        o = os.read(orders[0], 1)
        if not o:
            print(ends['end'], 'ends,', ends['reset'], 'resets', flush=True)
            os._exit(0)
        if o == b'l':   # what the dead have left is given back at a look that the library has, but no thread of its own
            select.select([mine], [], [], 0.02)
            os.write(up[1], b'  looked')
            continue
        c = mine.accept()[0] if o == b'a' else socket.create_connection(listener.getsockname(), 20)
        os.write(go[1], b'x')
        how, end = survivor(c, rng)
        c.close()
        judge(how, end)
        ends[how] += 1
        os.write(up[1], b'survived')

def held(pid):
    os.write(orders[1], b'l')
    assert os.read(up[0], 8) == b'  looked'
    maps = open('/proc/%d/maps' % pid).read()
    return len(os.listdir('/proc/%d/fd' % pid)), maps.count('fastnet-')

listener = socket.create_server(('127.0.0.1', 0))
orders, up, ready, go = os.pipe(), os.pipe(), os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    os.close(orders[1])
    try:
        surviving()
    except BaseException as e:
        print(repr(e), flush=True)
    finally:
        os._exit(1)
os.close(up[1])
port = int(os.read(up[0], 8))
rng = random.Random(2)
for i in range(kills + warm):
    if i == warm:
        before = held(pid)
    told[:16] = bytes(16)
    accepts = i % 2
    os.write(orders[1], b'c' if accepts else b'a')
    v = os.fork()
    if v == 0:
        os.close(orders[1])
        try:
            victim(listener if accepts else None, ('127.0.0.1', port), random.Random(i))
        finally:
            os._exit(1)
    os.read(ready[0], 1)
    select.select([], [], [], rng.random() * 0.01)
    os.kill(v, signal.SIGKILL)
    os.waitpid(v, 0)
    if os.read(up[0], 8) != b'survived':
        sys.exit('the survivor of number %d has failed' % i)
for i in range(100):
    after = held(pid)
    if after[0] <= before[0] and after[1] <= before[1]:
        break
else:
    sys.exit('descriptors and mappings: %s, then %s' % (before, after))
os.close(orders[1])
sys.exit(os.waitpid(pid, 0)[1])
END
on_fabric timeout 1000 python3 "$LAB_TMP/kills.py" "${kills:-200}" >"$LAB_TMP/said" 2>&1 || fail "$(cat "$LAB_TMP/said")"
cat "$LAB_TMP/said"
[ "$(reason_of FABRIC python3)" -ge $((${kills:-200} / 2)) ] || fail "not through shared memory"
