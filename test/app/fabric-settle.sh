# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A process forks while its peer has not looked yet: the other side reads from a pipe. Fork waits for nobody, the child
# owns the connection, and goes on with it when the other side does, whatever the parent does: it closes the connection, ends, is
# killed, is stopped, forks again and again. Nothing is the kernel's.
lab_need python3
fabric_make
cat >"$LAB_TMP/settle.py" <<'END'
import os, signal, socket, sys, time, traceback
BIG = 300000
text = bytes(i * 7 & 255 for i in range(1000)) * (BIG // 1000)
forks = []

def say(*what):
    print(*what, flush=True)

def whole(s, n):
    data = b''
    while len(data) < n:
        d = s.recv(min(65536, n - len(data)))
        assert d, 'ended after %d of %d' % (len(data), n)
        data += d
    return data

def process(f, *args):
    """A process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            f(*args)
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
        finally:
            os._exit(status)
    return pid

def timed_fork():
    start = time.monotonic()
    pid = os.fork()
    if pid:
        forks.append(time.monotonic() - start)
    return pid

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

class Gate:
    """Who waits here looks at nothing else."""
    def __init__(self):
        self.r, self.w = os.pipe()
    def wait(self):
        os.read(self.r, 1)
    def open(self, n=1):
        os.write(self.w, b'x' * n)

def talk(s, rounds=2):
    for i in range(rounds):
        s.sendall(text)
        assert whole(s, BIG) == text, 'other bytes'

def echo(s, rounds=2):
    for i in range(rounds):
        s.sendall(whole(s, BIG))

# ---- what the parent does, once it has forked; `done`: it has ----

def closes(c, done):
    c.close()
    done.open()
    signal.pause()

def ends(c, done):
    os._exit(0)

def is_killed(c, done):
    os.kill(os.getpid(), signal.SIGKILL)

def is_stopped(c, done):
    done.open()
    os.kill(os.getpid(), signal.SIGSTOP)

def keeps(c, done):
    done.open()
    c.recv(1, socket.MSG_PEEK)          # drives, too
    signal.pause()

def forks_again(c, done):
    """The connection is the grandchild's."""
    os._exit(0)

def meets_first(c, done):
    """It has heard of the other side, and then is killed."""
    c.recv(1, socket.MSG_PEEK)
    done.open()
    signal.pause()

def family(c, parent, done, mine, late, result):
    """Fork with c; mine(c) in the child is what counts."""
    if timed_fork() == 0:
        try:
            if parent is forks_again and timed_fork():
                os._exit(0)
            if parent is meets_first:
                late.wait()
            mine(c)
            os.write(result, b'+')
            c.shutdown(socket.SHUT_WR)  # the parent may have it, too
            assert c.recv(1) == b''
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os.write(result, b'-')
        os._exit(0)
    os.write(result, b'%10.6f' % forks[-1])
    parent(c, done)

def goes_on(go, parent, pid, done, late):
    """So does the other side, once the parent has done it; or before."""
    if parent is meets_first:
        go.open()
        done.wait()
        os.kill(pid, signal.SIGKILL)
        late.open()
        return
    if parent in (ends, is_killed, forks_again):
        os.waitpid(pid, 0)
    else:
        done.wait()
    go.open()

def over(parent, pid):
    if parent not in (ends, is_killed, forks_again):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

def outcome(r, go, parent, forks, other, done, late):
    """What the child and the other side say, and how long the fork took."""
    took = float(os.read(r, 10))
    goes_on(go, parent, forks, done, late)
    result = os.read(r, 1), ended(other)
    over(parent, forks)
    return result, took

def listener():
    l = socket.socket()
    l.bind(('127.0.0.1', 0))
    l.listen(100)
    return l

# ---- who accepts forks ----

def client(at, connected, go):
    s = socket.create_connection(at, 20)
    s.sendall(b'hello')
    connected.open()
    go.wait()
    talk(s)
    assert s.recv(1) == b''

def serves(c):
    assert whole(c, 5) == b'hello'
    echo(c)

def server(l, connected, parent, done, late, result):
    connected.wait()
    c, who = l.accept()
    l.close()
    family(c, parent, done, serves, late, result)

def accepted(parent):
    l, connected, go, done, late, (r, w) = listener(), Gate(), Gate(), Gate(), Gate(), os.pipe()
    s = process(server, l, connected, parent, done, late, w)
    p = process(client, l.getsockname(), connected, go)
    l.close()
    return outcome(r, go, parent, s, p, done, late)

# ---- who has connected forks, and nobody has accepted yet ----

def answers(l, ready, go):
    ready.open()
    go.wait()
    c, who = l.accept()
    assert whole(c, 5) == b'early'
    c.sendall(b'?')
    echo(c)
    assert c.recv(1) == b''

def asks(s):
    assert whole(s, 1) == b'?'
    talk(s)

def connector(at, parent, done, late, result):
    s = socket.create_connection(at, 20)
    s.sendall(b'early')
    family(s, parent, done, asks, late, result)

def offered(parent):
    l, ready, go, done, late, (r, w) = listener(), Gate(), Gate(), Gate(), Gate(), os.pipe()
    s = process(answers, l, ready, go)
    ready.wait()
    p = process(connector, l.getsockname(), parent, done, late, w)
    l.close()
    return outcome(r, go, parent, p, s, done, late)

# ---- several are offered to several processes, and are several children's; another one is made meanwhile ----

def several(at, n, forked, result):
    conns = [socket.create_connection(at, 20) for i in range(n)]
    for s in conns:
        s.sendall(b'early')
    children = []
    for s in conns[1:]:
        children.append(timed_fork())
        if children[-1] == 0:
            for c in conns:
                if c is not s:
                    c.close()
            asks(s)
            s.shutdown(socket.SHUT_WR)
            assert s.recv(1) == b''
            os._exit(0)
        s.close()
    late = socket.create_connection(at, 20)
    late.sendall(b'early')
    forked.open()
    for s in conns[0], late:
        asks(s)
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b''
    os.write(result, b'%d' % sum(map(ended, children)))

def each(n):
    l, ready, go, forked, (r, w) = listener(), Gate(), Gate(), Gate(), os.pipe()
    servers = [process(answers, l, ready, go) for i in range(n + 1)]
    p = process(several, l.getsockname(), n, forked, w)
    l.close()
    forked.wait()
    go.open(n + 1)
    return [ended(s) for s in servers], ended(p), os.read(r, 1)

for n in 2, 7:
    say(n, 'offers', each(n))

for how in accepted, offered:
    for parent in closes, ends, is_killed, is_stopped, keeps, forks_again, meets_first:
        got = [how(parent) for i in range(3)]
        say(how.__name__, 'and the parent', parent.__name__, [g[0] for g in got], min(g[1] for g in got) < .4)
END
(cd "$LAB_TMP" && lab_exec_client timeout 60 python3 settle.py) >"$LAB_TMP/kernel" 2>&1 || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
(cd "$LAB_TMP" && on_fabric timeout 100 python3 settle.py) >"$LAB_TMP/fabric" 2>&1 || fail "$(cat "$LAB_TMP/fabric")"
cat "$LAB_TMP/fabric"
diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "a child has not got what its parent had"
on_kernel=$(sed -nE 's/.* info: sockets: //p' "$LAB_TMP/fastnet.log" | grep -oE '[A-Z_]+ [0-9]+' | grep -vE '^FABRIC(_LISTEN)? ')
[ -z "$on_kernel" ] || fail "not through shared memory: $on_kernel"
[ "$(reason_of FABRIC python3)" -ge 36 ] || fail "$(reason_of FABRIC python3) connections through shared memory"

# Who claims has more memory than the others of the family have kept a place for: one of them has it, and all read what it says.
cat >"$LAB_TMP/larger.py" <<'END'
import os, select, socket, subprocess, sys
BIG = 200000
text = bytes(i * 7 & 255 for i in range(1000)) * (BIG // 1000)

def whole(s, n):
    data = b''
    while len(data) < n:
        d = s.recv(n - len(data))
        assert d, 'ended after %d of %d' % (len(data), n)
        data += d
    return data

def server():
    l = socket.create_server(('127.0.0.1', 0))
    print(l.getsockname()[1], flush=True)
    sys.stdin.readline()
    c = l.accept()[0]
    assert whole(c, 5) == b'early'
    c.sendall(text)
    assert whole(c, BIG) == text, 'other bytes'
    print('served', flush=True)

def client(port):
    s = socket.create_connection(('127.0.0.1', int(port)), 20)
    s.sendall(b'early')
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(r, 1)
        got = whole(s, BIG)
        s.sendall(text)
        os._exit(got != text)
    print('forked', flush=True)
    s.recv(1, socket.MSG_PEEK)
    os.write(w, b'x')
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        select.select([s], [], [], .01)     # it drives what the other one has not got
    print('its child', os.waitstatus_to_exitcode(ended[1]), flush=True)

def drive(*run):
    def start(*args, **env):
        return subprocess.Popen([*run, sys.executable, sys.argv[0], *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True, env={**os.environ, **env})
    s = start('server')
    c = start('client', s.stdout.readline().strip(), FASTNET_FABRIC_MEMORY='16777216')
    print(c.stdout.readline().strip())
    print(*s.communicate('go\n'), *c.communicate())

globals()[sys.argv[1]](*sys.argv[2:])
END
export FASTNET_LOG=$LAB_TMP/larger.log FASTNET_LOG_LEVEL=info
lab_exec_client timeout 60 python3 "$LAB_TMP/larger.py" drive >"$LAB_TMP/kernel" 2>&1 || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
lab_exec_client timeout 60 python3 "$LAB_TMP/larger.py" drive "$RUN" >"$LAB_TMP/fabric" 2>&1 || fail "$(cat "$LAB_TMP/fabric")"
diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "a child does not read what its parent was sent by a larger process"
grep -q "served" "$LAB_TMP/fabric" || fail "$(cat "$LAB_TMP/fabric")"
