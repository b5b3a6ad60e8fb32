# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A server whose connections go to other programs has those that come after the first from the kernel: no relay is quicker
# than that. Whoever has connected by shared memory before is served.
lab_need python3 cat
fabric_make
cat >"$LAB_TMP/cede.py" <<'END'
import os, select, socket, subprocess, sys
l = socket.create_server(('127.0.0.1', 0), backlog=100)
told, tell = os.pipe()
gates = [os.pipe() for i in range(3)]

def wait(gate):
    os.read(gates[gate][0], 1)

def go(gate):
    os.write(gates[gate][1], b'g')

def hears(what):
    got = os.read(told, 1)
    assert got == what, got

def process(f, *args):
    pid = os.fork()
    if pid == 0:
        try:
            f(*args)
        except OSError as e:
            print(f.__name__, e, flush=True)
            os._exit(1)
        os._exit(0)
    return pid

def connect():
    s = socket.create_connection(at, 10)
    s.sendall(b'hello')
    return s

def talk(s):
    got = b''
    while len(got) < 5:
        data = s.recv(5 - len(got))
        assert data, 'end of file'
        got += data
    assert got == b'hello', got

def client(gate, n):                    # n connections, which wait for an answer in turn
    l.close()
    wait(gate)
    conns = [connect() for i in range(n)]
    os.write(tell, b'c')
    for s in conns:
        talk(s)
        s.close()
    os.write(tell, b'd')

def again(gate, next):                  # two, one after the other
    l.close()
    for i in (gate, next):
        wait(i)
        s = connect()
        os.write(tell, b'c')
        talk(s)
        s.close()
        os.write(tell, b'd')

def other_program(c):
    p = subprocess.Popen(['cat'], stdin=c, stdout=c)
    c.close()
    return p

def echo(c):
    c.sendall(c.recv(100))
    c.close()

def first():                            # the second connection of one process, and the first of another, are the kernel's
    a, b = process(again, 0, 1), process(client, 2, 1)
    go(0)
    hears(b'c')
    p = other_program(l.accept()[0])
    hears(b'd')
    p.wait()
    for gate in (1, 2):
        go(gate)
        hears(b'c')
        echo(l.accept()[0])
        hears(b'd')
    return a, b

def offered():                          # what was offered by then is served
    a = process(client, 0, 5)
    go(0)
    hears(b'c')
    programs = [other_program(l.accept()[0]) for i in range(5)]
    hears(b'd')
    for p in programs:
        p.wait()
    return a,

def forked():                           # two have the listener
    a, b = process(client, 0, 1), process(client, 1, 1)
    def worker():
        select.select([l], [], [], 0)   # it knows the name by which clients come, too
        os.write(tell, b'w')
        wait(2)
        echo(l.accept()[0])
        for i in range(10):             # and looks
            select.select([l], [], [], 0.01)
    w = process(worker)
    hears(b'w')
    go(0)
    hears(b'c')
    p = other_program(l.accept()[0])
    hears(b'd')
    p.wait()
    go(1)
    hears(b'c')
    go(2)
    hears(b'd')
    return a, b, w

at = l.getsockname()
pids = globals()[sys.argv[1]]()
sys.exit(any(os.waitpid(pid, 0)[1] for pid in pids))
END
for how in first offered forked; do
	lab_exec_client timeout 30 python3 "$LAB_TMP/cede.py" $how || fail "$how fails on the kernel"
	: >"$LAB_TMP/fastnet.log"
	on_fabric timeout 60 python3 "$LAB_TMP/cede.py" $how || { echo "$how: status $?"; wrong=1; }
	echo "$how $(reason_of FABRIC python3) $(reason_of FABRIC_NOBODY python3) $(reason_of FABRIC_CEDED python3)"
done >"$LAB_TMP/got"
[ -z "${wrong:-}" ] || fail "a client was not served"
# by shared memory, by the kernel; processes that say so of the listener, those that execute the other program included
diff - "$LAB_TMP/got" <<'END' || fail "who went which way"
first 1 2 2
offered 5 0 6
forked 1 1 3
END
