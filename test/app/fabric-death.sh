# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Either end is killed in the middle of its work: the other goes on, has read all that was published, and nothing of the dead
# one stays. One that is stopped holds nobody else up.
lab_need redis-server redis-cli redis-benchmark python3
fabric_make
fabric_serve redis-server --port 6379 --bind 127.0.0.1 --dir "$LAB_TMP" --save ''
await lab_exec_client redis-cli ping || fail "no answer through the kernel"
pid=$LAB_SERVER_PID
[ "$(on_fabric redis-cli ping)" = PONG ] || fail "no answer"

held()	# what the server holds of others: descriptors, payload memory
{
	echo "$(find "/proc/$pid/fd" -mindepth 1 | wc -l) $(grep -c fastnet-payload "/proc/$pid/maps")"
}
settled()	# it holds no more than that; of a client that has just ended it may hold something when it is asked for the first time
{
	local fds maps

	[ "$(on_fabric timeout 10 redis-cli ping)" = PONG ] || return 1
	read -r fds maps <<<"$(held)"
	[ "$fds" -le "${1% *}" ] && [ "$maps" -le "${1#* }" ]
}
await settled "$(held)" || fail "what one client leaves behind grows"
before=$(held)
victims=${LONG:+200}
for ((i = 0; i < ${victims:-30}; i++)); do
	fabric_start redis-benchmark -q -n 100000000 -c $((1 + RANDOM % 20)) -P $((1 + RANDOM % 8)) -d $((RANDOM % 9000)) -t set,get \
		>/dev/null 2>&1
	victim=$!
	read -r -t "0.0$((RANDOM % 90 + 10))" <> <(:) || :
	kill -9 "$victim"
	wait "$victim" 2>/dev/null
done
await settled "$before" || fail "held before: $before, and after clients were killed: $(held)"
[ "$(lab_exec_client redis-cli info clients | tr -d '\r' | sed -n 's/^connected_clients://p')" = 1 ] ||
	fail "redis has not heard that its clients have gone"

fabric_start redis-benchmark -q -n 200000 -c 20 -d 2000 -t set >"$LAB_TMP/stopped" 2>&1
stopped=$!
read -r -t 0.3 <> <(:) || :
kill -STOP "$stopped" || fail "the benchmark was quicker than thought"
for ((until = SECONDS + ${LONG:+55 +} 5; SECONDS < until;)); do
	on_fabric timeout 30 redis-benchmark -q -n 3000 -c 20 -t set,get >/dev/null || fail "a stopped client holds another one up"
done
kill -CONT "$stopped"
wait "$stopped" || fail "a client that was stopped fails: $(cat "$LAB_TMP/stopped")"

# The server's end: what it sent can be read, then the end, or a reset when it left something unread.
cat >"$LAB_TMP/end.py" <<'END'
import os, select, signal, socket, sys
how = sys.argv[1:]
def die(c):
    if 'closes' in how:
        c.close()
    if 'exits' in how or 'closes' in how:
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
l = socket.socket()
l.bind(('127.0.0.1', 0))
l.listen(16)
r, w = os.pipe()
accepted, wrote = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    c, who = l.accept()
    os.write(accepted[1], b'x')
    os.read(r, 1)
    if 'acked' in how:  # it is here, and its sender knows
        select.select([c], [], [])
    n = 0
    if 'read' in how:
        while n < 10:
            n += len(c.recv(100))
    c.setblocking(False)
    n = 0
    try:
        while n < (1 << 30 if 'full' in how else 1):
            n += c.send(b'last words' * 4000)
    except BlockingIOError:
        pass
    os.write(wrote[1], b'%d' % n)
    die(c)
s = socket.create_connection(l.getsockname())
l.close()
if 'unread' in how or 'acked' in how or 'read' in how:
    os.read(accepted[0], 1)
    s.sendall(b'never read')
os.write(w, b'x')
os.waitpid(pid, 0)
sent = int(os.read(wrote[0], 20))
n = 0
try:
    while True:
        d = s.recv(4096)
        if not d:
            print('end', end=' ')
            break
        assert d == (b'last words' * 411)[n % 10:][:len(d)], 'other bytes'
        n += len(d)
except OSError as e:
    print('error', e.errno, end=' ')
print('all of it' if n == sent else '%d bytes of %d' % (n, sent))
END
for how in "" exits closes unread "unread exits" "unread closes" acked "acked exits" "acked closes" read "read exits" full "full exits" \
	"full closes"; do
	lab_exec_client timeout 20 python3 "$LAB_TMP/end.py" $how >"$LAB_TMP/kernel" || fail "end.py $how fails on the kernel"
	on_fabric timeout 20 python3 "$LAB_TMP/end.py" $how >"$LAB_TMP/fabric" || fail "end.py $how"
	diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "a server that is killed ($how) looks different"
done
[ "$(reason_of FABRIC python3)" -ge 14 ] || fail "not through shared memory"

# A server of processes, of which one is killed while the others are in calls of the kernel's: whose connection it alone had
# hears of it at once, if somebody waits for that process. Nobody of the server makes a call on sockets meanwhile.
cat >"$LAB_TMP/reap.py" <<'END'
import os, signal, socket, sys
def server(l, how, quiet):
    if how == 'handler':
        signal.signal(signal.SIGCHLD, lambda *a: os.waitpid(-1, os.WNOHANG))
    c, who = l.accept()
    mine, who = l.accept()          # the stack lives on with the one that serves this
    pid = os.fork()
    if pid == 0:
        mine.close()
        c.sendall(b'%d' % os.getpid())
        while True:
            signal.pause()
    c.close()
    if how == 'waitpid':
        os.waitpid(pid, 0)
    elif how == 'wait':
        os.wait()
    elif how == 'wait4':
        os.wait4(pid, 0)
    elif how == 'waitid':
        os.waitid(os.P_PID, pid, os.WEXITED)
    os.read(quiet, 1)
    os._exit(0)
l = socket.socket()
l.bind(('127.0.0.1', 0))
l.listen(16)
how = sys.argv[1]
r, w = os.pipe()
parent = os.fork()
if parent == 0:
    os.close(w)
    server(l, how, r)
os.close(r)
s, other = socket.create_connection(l.getsockname()), socket.create_connection(l.getsockname())
s.settimeout(10)
os.kill(int(s.recv(20)), signal.SIGKILL)
try:
    print(how, s.recv(20))
except OSError as e:
    print(how, e)
os.write(w, b'x')
os.waitpid(parent, 0)
END
for how in waitpid wait wait4 waitid handler; do
	lab_exec_client timeout 60 python3 "$LAB_TMP/reap.py" "$how" >"$LAB_TMP/kernel" || fail "reap.py fails on the kernel"
	on_fabric timeout 60 python3 "$LAB_TMP/reap.py" "$how" >"$LAB_TMP/fabric" || fail "reap.py $how"
	diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "who has been waited for ($how) has connections still"
done
