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
