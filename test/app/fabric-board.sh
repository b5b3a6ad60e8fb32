# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A process has the lock of the board on which nginx's workers see their clients, and does not get a processor for a while:
# who comes meanwhile is served as soon as it goes on, though all workers have looked in vain and sleep.
lab_need nginx curl python3
fabric_make
nginx_conf 2 off
fabric_serve /usr/sbin/nginx -c "$LAB_TMP/nginx.conf"
await test -s "$LAB_TMP/nginx.pid" || fail "nginx does not start"
await lab_exec_client curl -sf -m 2 http://127.0.0.1/hello || fail "no answer"
worker=$(nginx_workers | head -1)

cat >"$LAB_TMP/holder.py" <<'END_PY'
# holder.py WORKER COMMAND…: runs it while we have the lock (struct fn_board_shared: .lock is at 32, .notices at 80,
# .loose at 88), which is given back when its client is up there and those who look have long given up.
import ctypes, mmap, os, subprocess, sys, time
fds = "/proc/%s/fd/" % sys.argv[1]
board = [fds + f for f in os.listdir(fds) if "fastnet-board" in os.readlink(fds + f)]
assert len(board) == 1, board
with open(board[0], "r+b", buffering=0) as f:
    m = mmap.mmap(f.fileno(), 4096)
word, notices, loose = (ctypes.c_uint32.from_buffer(m, at) for at in (32, 80, 88))
assert word.value == 0
word.value, before = os.getpid(), notices.value
client = subprocess.Popen(sys.argv[2:])
while notices.value == before:
    time.sleep(0.01)
time.sleep(0.2)
assert client.poll() is None, "served while the board could not be looked at"
assert word.value & 0x3fffffff == os.getpid()
word.value = 0
code = client.wait()
assert loose.value == 0, "looked at without the lock"
sys.exit(code)
END_PY
got=$(on_fabric timeout 20 python3 "$LAB_TMP/holder.py" "$worker" curl -s -m 10 http://127.0.0.1/hello) ||
	fail "status $?, and '$got'"
[ "$got" = hello ] || fail "curl got '$got'"
[ "$(reason_of FABRIC curl)" = 1 ] || fail "not through shared memory"
stop_nginx

# A worker has no numbers left while it looks at the board, where another one, who is killed before he accepts, has put up
# a client: who gets it when there are numbers again.
fabric_nofile
cat >"$LAB_TMP/full.py" <<'END'
import errno, os, select, signal, socket
from nofile import fill
l = socket.create_server(('127.0.0.1', 0))
l.setblocking(False)
told, tell = os.pipe()
pids, gates = [], [os.pipe() for i in range(2)]

def first(gate):
    select.select([l], [], [])
    os.write(tell, b'1')
    signal.pause()

def second(gate):
    select.select([l], [], [], 0)       # it has a stack, and all that belongs to it
    full = fill(told)
    os.write(tell, b'2')
    os.read(gate, 1)            # somebody is there
    for i in range(100):
        try:
            l.accept()
        except OSError as e:
            assert e.errno in (errno.EMFILE, errno.EAGAIN), e
    os.write(tell, b'3')
    os.read(gate, 1)            # the other one is dead
    for fd in full:
        os.close(fd)
    select.select([l], [], [])
    c = l.accept()[0]
    c.sendall(c.recv(100))

for worker, (r, w) in zip((first, second), gates):
    pids.append(os.fork())
    if pids[-1] == 0:
        worker(r)
        os._exit(0)
at = l.getsockname()
l.close()
assert os.read(told, 1) == b'2'
pid = os.fork()
if pid == 0:
    s = socket.create_connection(at, 10)
    s.sendall(b'hello')
    print(s.recv(100).decode(), flush=True)
    os._exit(0)
assert os.read(told, 1) == b'1'
os.write(gates[1][1], b'x')
assert os.read(told, 1) == b'3'
os.kill(pids[0], signal.SIGKILL)
os.waitpid(pids[0], 0)
os.write(gates[1][1], b'x')
os.waitpid(pids[1], 0)
os.waitpid(pid, 0)
END
: >"$LAB_TMP/fastnet.log"
got=$(on_fabric timeout 30 python3 "$LAB_TMP/full.py") || fail "status $?, and '$got', of one who had no numbers"
[ "$got" = hello ] || fail "one who had no numbers: '$got'"
[ "$(reason_of FABRIC python3)" = 1 ] || fail "not through shared memory"
