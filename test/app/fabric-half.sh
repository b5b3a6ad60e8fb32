# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A worker that has a client from the rendezvous and has not heard all of it closes the listener, is busy, is killed, or is killed
# before it has read what was left there: the client is served by another worker, over the fabric. strace stops the client
# once it is connected to the rendezvous, or the worker once it has accepted there.
# And the bell for an offer: a child that does not listen any more hears it while its parent, which does, is stopped.
lab_need python3 /usr/bin/python3 strace
fabric_make
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
cat >"$LAB_TMP/server.py" <<'END'
import os, select, socket, sys

def worker(l, r, who):
    """Commands: w, look at the listener, too; a, accept and serve one; c, close the listener; b, be busy."""
    look = [r]
    while True:
        ready = select.select(look, [], [])[0]
        if r not in ready:
            print(who, 'sees somebody', flush=True)
            look = [r]
            continue
        what = os.read(r, 1)
        if what == b'w':
            look = [r, l]
        elif what == b'a':
            c = l.accept()[0]
            c.sendall(who + b' has read ' + c.recv(100))
        elif what == b'c':
            look = [r]
            l.close()
            print('closed', flush=True)
        elif what == b'b':
            look = [r]
            print('busy', flush=True)
            os.read(r, 1)
        elif not what:
            sys.exit()

l = socket.create_server(('127.0.0.1', 0))
pipes = [os.pipe() for i in range(2)]
pids = []
for i in range(2):
    pids.append(os.fork())
    if not pids[-1]:
        for r, w in pipes:
            os.close(w)
        worker(l, pipes[i][0], b'%d' % (i + 1))
for r, w in pipes:
    os.close(r)
print(l.getsockname()[1], *pids, flush=True)
l.close()
for line in sys.stdin:
    os.write(pipes[int(line[0]) - 1][1], line[1:2].encode())
END
cat >"$LAB_TMP/client.py" <<'END'
import os, socket, sys
print(os.getpid(), flush=True)
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20)
s.sendall(b'me')
print('sent', flush=True)
print(s.recv(100).decode(), flush=True)
END
cat >"$LAB_TMP/half.py" <<'END'
import os, signal, subprocess, sys, time
run, tmp, python = sys.argv[1:4]
name = os.environ['FABRIC_NAME']

def until(f):
    end = time.monotonic() + 20
    while not f():
        assert time.monotonic() < end, f.__doc__
        time.sleep(.01)

def start(*args, **kw):
    return subprocess.Popen(args, stdout=subprocess.PIPE, text=True, bufsize=1, **kw)

def taken():
    """somebody has accepted from the rendezvous"""
    return any(name in line and line.split()[5] == '03' for line in open('/proc/net/unix'))

def case(what, stopped):
    server = start(run, python, tmp + '/server.py', stdin=subprocess.PIPE)
    port, one, two = map(int, server.stdout.readline().split())
    tell = lambda command: print(command, file=server.stdin, flush=True)
    if stopped == 'worker':
        strace = subprocess.Popen(['strace', '-o', '/dev/null', '-e', 'inject=accept4:signal=STOP:when=1', '-p', str(one)],
                                  stderr=subprocess.DEVNULL)
        def traced():
            """strace has attached"""
            return 'TracerPid:\t%d\n' % strace.pid in open('/proc/%d/status' % one).read()
        until(traced)
    tell('1w')
    trace = ['strace', '-o', '/dev/null', '-e', 'inject=connect:signal=STOP:when=1'] if stopped == 'client' else []
    client = start(*trace, run, python, tmp + '/client.py', str(port))
    pid = int(client.stdout.readline())
    until(taken)
    if stopped == 'worker':
        assert client.stdout.readline() == 'sent\n'
    if what == 'closes':
        tell('1c')
        assert server.stdout.readline() == 'closed\n'
    elif what == 'is busy':
        tell('1b')
        assert server.stdout.readline() == 'busy\n'
    else:
        os.kill(one, signal.SIGKILL)
    os.kill(pid, signal.SIGCONT)
    if stopped == 'client':
        assert client.stdout.readline() == 'sent\n'
    tell('2a')
    print('a worker', what, stopped, 'was stopped:', client.stdout.readline().strip(), flush=True)
    client.wait()
    server.stdin.close()
    server.wait()

if __name__ == '__main__':
    case('closes', 'client')
    case('is busy', 'client')
    case('dies', 'client')
    case('dies', 'worker')
END
cat >"$LAB_TMP/forks.py" <<'END'
import os, socket
l = socket.create_server(('127.0.0.1', 0))
print(l.getsockname()[1], flush=True)
while True:
    c = l.accept()[0]
    child = os.fork()
    if not child:
        l.close()
        while c.recv(100):
            c.sendall(b'child')
        os._exit(0)
    print(child, flush=True)
    c.close()
END
cat >"$LAB_TMP/asks.py" <<'END'
import socket, sys
at = ('127.0.0.1', int(sys.argv[1]))
s = []
for line in sys.stdin:
    if line == 'connect\n':
        s.append(socket.create_connection(at, 20))
        s[-1].sendall(b'me')
    else:
        if line == 'first\n':
            s[0].sendall(b'me')
        print((s[0] if line == 'first\n' else s[-1]).recv(100).decode(), flush=True)
END
cat >"$LAB_TMP/bell.py" <<'END'
import os, signal, subprocess, sys
run, tmp, python = sys.argv[1:4]
import half
server = half.start(run, python, tmp + '/forks.py')
client = half.start(run, python, tmp + '/asks.py', server.stdout.readline().strip(), stdin=subprocess.PIPE)
tell = lambda what: print(what, file=client.stdin, flush=True)

def state(pid):
    return open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[0]

def sleeps(pid):
    where = open('/proc/%d/wchan' % pid).read()
    return state(pid) == 'S' and ('poll' in where or where in ('', '0'))

def is_stopped():
    """the parent is stopped"""
    return state(server.pid) in 'Tt'

def all_asleep():
    """parent and children wait"""
    return all(map(sleeps, [server.pid] + children))

children = []
for i in range(4):
    if i:
        half.until(all_asleep)
        os.kill(server.pid, signal.SIGSTOP)
        half.until(is_stopped)
    tell('connect')
    if i:
        tell('first')
        assert client.stdout.readline() == 'child\n'
        os.kill(server.pid, signal.SIGCONT)
    tell('last')
    assert client.stdout.readline() == 'child\n', 'nobody serves'
    children.append(int(server.stdout.readline()))
    print('served', flush=True)
server.kill()
client.stdin.close()
client.wait()
END
lab_exec_client timeout 90 /usr/bin/python3 "$LAB_TMP/half.py" "$RUN" "$LAB_TMP" /usr/bin/python3 >"$LAB_TMP/out" 2>&1 ||
	fail "$(cat "$LAB_TMP/out")"
[ "$(grep -c '2 has read me$' "$LAB_TMP/out")" = 4 ] || fail "$(cat "$LAB_TMP/out")"
[ "$(reason_of FABRIC python3)" = 4 ] || fail "not all went over the fabric: $(cat "$LAB_TMP/fastnet.log")"
lab_exec_client timeout 90 /usr/bin/python3 "$LAB_TMP/bell.py" "$RUN" "$LAB_TMP" /usr/bin/python3 >"$LAB_TMP/out" 2>&1 ||
	fail "$(cat "$LAB_TMP/out")"
[ "$(grep -c '^served$' "$LAB_TMP/out")" = 4 ] || fail "$(cat "$LAB_TMP/out")"
