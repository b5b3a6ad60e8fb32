# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Several workers of one listener: whoever accepts has the next connection. None waits for one that is busy, none is lost
# with one that is killed or stops listening; what nobody had accepted when the last one goes is reset, as on the kernel.
lab_need python3
fabric_make
cat >"$LAB_TMP/workers.py" <<'END'
import os, select, signal, socket, sys, time
l = socket.socket()
l.bind(('127.0.0.1', 0))
l.listen(100)
at = l.getsockname()
BUSY = [os.pipe() for i in range(3)]    # a worker that is busy goes on when it reads
pids = []
orders, started = os.pipe(), os.pipe()

def worker(me):
    while True:
        c, who = l.accept()
        what = c.recv(100)
        c.sendall(b'%d' % me)
        if what == b'be busy':
            os.read(BUSY[me][0], 1)
        if what == b'close':
            l.close()
            c.recv(1)
            os._exit(0)
        c.close()

def master():
    """Never connects or accepts: it starts workers, and ends with its orders."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.close(orders[1])
    while True:
        o = os.read(orders[0], 1)
        if not o:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            try:
                worker(int(o))
            finally:
                os._exit(1)
        os.write(started[1], b'%8d' % pid)

def start():
    os.write(orders[1], b'%d' % len(pids))
    pids.append(int(os.read(started[0], 8)))

def go(who):
    os.write(BUSY[who][1], b'x')

def kill(who):
    os.kill(pids[who], signal.SIGKILL)
    while os.path.exists('/proc/%d' % pids[who]):
        time.sleep(.001)

def ask(what=b'x', wait=True):
    s = socket.create_connection(at, 20)
    s.sendall(what)
    return int(s.recv(100)) if wait else s

def say(*what):
    print(*what, flush=True)

if os.fork() == 0:
    master()
start()
start()
busy = ask(b'be busy')
others = [ask() for i in range(30)]
say('one is busy', set(others) == {1 - busy})
# both are busy: connections wait, with what they have sent
other = ask(b'be busy')
waiting = [ask(b'early', False) for i in range(20)]
go(busy)
say('both are busy', other == 1 - busy, {int(s.recv(100)) for s in waiting} == {busy})
# one is killed while others wait
victim, rest = ask(b'be busy'), other
waiting = [ask(b'early', False) for i in range(20)]
kill(victim)
go(rest)
say('after a kill', victim == busy, {int(s.recv(100)) for s in waiting} == {rest})
# a new one takes the place of one that stops listening
start()
s = socket.create_connection(at, 20)
s.sendall(b'close')
closing = int(s.recv(100))
last = {rest: 2, 2: rest}[closing]
say('one has closed', {ask() for i in range(20)} == {last})
s.close()
# the last one, with a connection that it has not accepted
ask(b'be busy')
w = socket.create_connection(at, 20)
w.sendall(b'nobody')
l.close()
os.close(orders[1])
kill(last)
try:
    say('nobody is left', w.recv(100))
except OSError as e:
    say('nobody is left', e.errno)
try:
    say(socket.create_connection(at, 20))
except OSError as e:
    say('nor comes', e.errno)
END
(cd "$LAB_TMP" && lab_exec_client timeout 60 python3 workers.py) >"$LAB_TMP/kernel" 2>&1 || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
(cd "$LAB_TMP" && on_fabric timeout 60 python3 workers.py) >"$LAB_TMP/fabric" 2>&1 || fail "$(cat "$LAB_TMP/fabric")"
diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "workers differ from the kernel's"
[ "$(wc -l <"$LAB_TMP/fabric")" = 6 ] || fail "said too little"
[ "$(reason_of FABRIC python3)" -ge 60 ] || fail "not through shared memory: $(cat "$LAB_TMP/fastnet.log")"
