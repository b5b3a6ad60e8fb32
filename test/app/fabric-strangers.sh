# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Processes that share a stack wake each other over sockets whose names anybody can read. What another user sends there
# wakes nobody and leaves nothing behind; nor does what he asks a relay.
lab_need python3 /usr/bin/python3 setpriv
fabric_make
chmod 755 "$LAB_TMP"
cat >"$LAB_TMP/family.py" <<'END'
import os, socket, sys
l = socket.create_server(('127.0.0.1', 0))
if os.fork() == 0:		# the client, with a stack of its own
    one, two = (socket.create_connection(l.getsockname()) for i in range(2))
    for line in open(sys.argv[1]):
        one.sendall(b'x')
        print(one.recv(100).decode(), flush=True)
    os._exit(0)
one, two = l.accept()[0], l.accept()[0]
l.close()
pid = os.fork()
if pid == 0:
    one.close()
    two.recv(1)
    os._exit(0)
print('family', os.getpid(), pid, flush=True)
one.recv(1)
os.dup2(one.fileno(), 0)	# through a relay from now on
one.send(b'converted')
while one.recv(1):
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.send(b'%d' % one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
os.waitpid(pid, 0)
END
cat >"$LAB_TMP/stranger.py" <<'END'
# stranger.py PREFIX N: so many datagrams with two descriptors each to every socket of such a name.
import array, socket, sys
names = [n.split()[7] for n in open('/proc/net/unix') if len(n.split()) == 8 and n.split()[7].startswith('@' + sys.argv[1])]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setblocking(False)
fds = array.array('i', [s.fileno(), s.fileno()])
for name in names:
    for i in range(int(sys.argv[2])):
        try:
            s.sendmsg([b'?'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)], 0, '\0' + name[1:])
        except BlockingIOError:
            print('full')
print(len(names))
END
mkfifo "$LAB_TMP/orders"
exec 8<>"$LAB_TMP/orders"
fabric_start python3 "$LAB_TMP/family.py" "$LAB_TMP/orders" >"$LAB_TMP/said" 8>&-
await grep -q family "$LAB_TMP/said" || fail "no family"
read -r _ parent child <"$LAB_TMP/said"
asleep()
{
	grep -q '^271 ' "/proc/$1/syscall"	# ppoll
}
held()
{
	find "/proc/$1/fd" -mindepth 1 | wc -l
}
stranger()
{
	ip netns exec "$LAB_CLIENT_NS" setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 "$LAB_TMP/stranger.py" "$@"
}
ticks()
{
	echo $(($(lab_cpu_ticks "$parent") + $(lab_cpu_ticks "$child")))
}
await asleep "$parent" && await asleep "$child" || fail "the family does not sleep"
before="$(held "$parent") $(held "$child")"
said=$(stranger fastnet/bell/ 1) || fail "the stranger: $said"
[ "$said" = 2 ] || fail "the family has $said bells"
used=$(ticks)
python3 -c '
import time
while time.process_time() < 1: pass'
used=$(($(ticks) - used))
[ $used -lt 20 ] || fail "while somebody else computes for a second, who should sleep has used $used ticks"
[ "$(stranger fastnet/bell/ 40)" = 2 ] || fail "a stranger can fill a bell"
[ "$(held "$parent") $(held "$child")" = "$before" ] || fail "members keep what a stranger sends: $before, now $(held "$parent") $(held "$child")"

echo >&8
await grep -q converted "$LAB_TMP/said" || fail "the family does not go on"
relay=$(ip netns pids "$LAB_SERVER_NS" | while read -r p; do ! grep -qx fastnet-relay "/proc/$p/comm" || echo "$p"; done)
[ -n "$relay" ] || fail "no relay"
before_relay=$(held "$relay")
for _ in {1..5}; do
	[ "$(stranger fastnet/opt/ 10 | tail -1)" = 1 ] || fail "the relay is not asked"
done
echo >&8
await grep -qx 1 "$LAB_TMP/said" || fail "the relay does not answer"
[ "$(held "$relay")" = "$before_relay" ] || fail "the relay keeps what a stranger sends: $before_relay, now $(held "$relay")"
exec 8>&-
