# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A client whose connection nobody has accepted yet has no numbers left: whoever had taken its offer is killed, while another
# process has got the listener; or it is accepted, and who accepts introduces himself. Its connection goes on when it has
# numbers again.
lab_need python3
fabric_make
fabric_nofile
cat >"$LAB_TMP/numbers.py" <<'END'
import os, select, signal, socket, sys
from nofile import fill
l = socket.create_server(('127.0.0.1', 0))
told, tell = os.pipe()
gates = [os.pipe() for i in range(3)]
here, there = socket.socketpair()

def go(i):
    os.write(gates[i][1], b'x')

def wait(i):
    os.read(gates[i][0], 1)

def hears(who):
    got = os.read(told, 1)
    assert got == who, (got, who)

def process(f):
    pid = os.fork()
    if pid == 0:
        f()
        os._exit(0)
    return pid

def client():
    there.close()
    here.close()
    l.close()
    s = socket.create_connection(at, 10)
    s.sendall(b'hello')
    full = fill(told)
    os.write(tell, b'c')
    wait(0)
    s.setblocking(False)
    got = b''
    for i in range(300):                # it looks, and can do nothing
        try:
            got += s.recv(100)
        except BlockingIOError:
            pass
        select.select([s], [], [], 0.001)
    for fd in full:
        os.close(fd)
    os.write(tell, b'd')
    s.settimeout(10)
    while len(got) < 10:
        got += s.recv(100) or sys.exit('end of file')
    print(got.decode(), flush=True)

def serve(l):
    c = l.accept()[0]
    c.sendall(c.recv(100) + b' back')
    c.recv(1)

def first():                            # takes it, gives the listener away, and is killed
    wait(1)
    select.select([l], [], [])
    socket.send_fds(here, [b'x'], [l.fileno()])
    signal.pause()

def second():
    l.close()
    other = socket.socket(fileno=socket.recv_fds(there, 1, 1)[1][0])
    os.write(tell, b'1')                # it knows whose that is
    wait(2)
    serve(other)

def accepts():
    wait(1)
    c = l.accept()[0]
    os.write(tell, b'1')
    c.sendall(c.recv(100) + b' back')
    c.recv(1)

at = l.getsockname()
killed = sys.argv[1] == 'killed'
pids = [process(f) for f in ((second, first) if killed else (accepts,))]
c = process(client)
l.close()
hears(b'c')
go(1)
hears(b'1')
if killed:
    os.kill(pids[1], signal.SIGKILL)
    os.waitpid(pids[1], 0)
go(0)
hears(b'd')
go(2)
os.waitpid(c, 0)
os.waitpid(pids[0], 0)
END
for how in killed accepted; do
	got=$(on_fabric timeout 60 python3 "$LAB_TMP/numbers.py" $how 2>&1) || fail "$how: status $?, and '$got'"
	[ "$got" = "hello back" ] || { echo "$how: the client got '$got'"; wrong=1; }
done
[ -z "${wrong:-}" ] || fail "a connection is lost for want of numbers"
[ "$(reason_of FABRIC python3)" = 2 ] || fail "not through shared memory"
