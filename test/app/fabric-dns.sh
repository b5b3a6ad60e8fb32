# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Datagrams between users: dnsmasq, which goes to the background and gives up its privileges, asked by another user's dig; who
# names an address that is not its own is not heard; a server that is killed and comes again, time after time.
lab_need dnsmasq dig python3 /usr/bin/python3 setpriv
fabric_make
chmod 755 "$LAB_TMP"
touch "$LAB_TMP/fastnet.log"
chmod 666 "$LAB_TMP/fastnet.log"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
as()	# as USER CMD…
{
	ip netns exec "$LAB_CLIENT_NS" setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "${@:2}"
}
udp_out()	# what the programs of that name, which have ended, have sent through shared memory
{
	sed -nE "s/.* $1\\[[0-9]+\\]: info: .* udp_out ([0-9]+).*/\\1/p" "$LAB_TMP/fastnet.log" | awk '{ n += $1 } END { print n + 0 }'
}

# ---- a name server ----
for i in {1..200}; do echo "$((i % 7)).here.test"; done >"$LAB_TMP/questions"
for i in {1..200}; do echo "192.0.2.$((i % 7))"; done >"$LAB_TMP/answers"
chmod 644 "$LAB_TMP/questions"
for i in {0..6}; do echo "--address=/$i.here.test/192.0.2.$i"; done >"$LAB_TMP/names"
mapfile -t names <"$LAB_TMP/names"
lab_exec_server "$RUN" dnsmasq -C /dev/null -p 5353 --no-resolv --no-hosts -u nobody --pid-file="$LAB_TMP/dnsmasq.pid" \
	"${names[@]}" || fail "dnsmasq does not start"
server=$(cat "$LAB_TMP/dnsmasq.pid")
lab_pids+=("$server")
for who in daemon nobody root; do
	as $who "$RUN" dig +short +time=3 -p 5353 @127.0.0.1 -f "$LAB_TMP/questions" >"$LAB_TMP/dig" || fail "dig by $who"
	cmp "$LAB_TMP/answers" "$LAB_TMP/dig" || fail "wrong answers to $who"
done
[ "$(udp_out dig)" -gt 100 ] || fail "dig's questions went through the kernel: $(cat "$LAB_TMP/fastnet.log")"
as daemon dig +short +time=3 -p 5353 @127.0.0.1 -f "$LAB_TMP/questions" | cmp "$LAB_TMP/answers" - || fail "a dig without the library"
kill "$server"

# ---- a liar ----
cat >"$LAB_TMP/hear.py" <<'END'
import select, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', int(sys.argv[1])))
print('%x' % int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 57, 8), 'little'), flush=True)
while True:
    d, a = s.recvfrom(2000)
    print(d.decode(), a[0], a[1], flush=True)
    if d == b'end':
        break
END
fabric_lying
cat >"$LAB_TMP/liar.py" <<'END'
import array, os, socket, struct, sys
from lying import *

def say(kind, fd):
    m = struct.pack('=IHHiIQ', 0x66617374, VERSION, kind, 0, SLOTS, 0)
    s.sendmsg([m], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))])

s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect(name_of(int(sys.argv[1], 16)))
fd, ring = memory(2 * RING, FIXED)
say(HELLO, fd)
while True:
    data, anc, flags, who = s.recvmsg(100, 200)
    assert data
    if len(data) == 24:
        break
assert struct.unpack('=IHHiIQ', data)[2:4] == (WELCOME, 0)
fd, payload = memory(1 << 20, FIXED | FUTURE)
say(PAYLOAD, fd)
pos = 0

def send(text, src, sport, dst='127.0.0.1'):
    global pos
    body = struct.pack('!BBHHHBBH4s4sHHHH', 0x45, 0, 28 + len(text), 0, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst),
                       sport, int(sys.argv[2]), 8 + len(text), 0) + text
    entry = (struct.pack('=HBB', len(body), 1, 0) + body).ljust((8 + len(body) + 63) // 64 * 64 - 4, b'\0')
    at = 64 + pos % SLOTS * 64
    ring[at + 4:at + 4 + len(entry)] = entry
    ring[at:at + 4] = struct.pack('=I', pos * 2 + 1)
    pos += (len(entry) + 4) // 64
    s.send(b'!')

own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(('127.0.0.1', 0))
mine = own.getsockname()[1]
print(mine, flush=True)
send(b'own', '127.0.0.1', mine)
send(b'root', '127.0.0.1', int(sys.argv[3]))
send(b'privileged', '127.0.0.1', 53)
send(b'elsewhere', '192.0.2.1', mine)
send(b'to elsewhere', '127.0.0.1', mine, '192.0.2.1')
send(b'nobody', '127.0.0.1', mine + 1 if mine < 65535 else 1025)
own.close()
send(b'left', '127.0.0.1', mine)
send(b'end', '127.0.0.1', mine)
try:
    while s.recv(100):
        pass
except OSError:
    pass
END
lab_exec_server "$RUN" python3 "$LAB_TMP/hear.py" 5301 >"$LAB_TMP/root" &
lab_pids+=("$!")
lab_exec_server "$RUN" python3 "$LAB_TMP/hear.py" 5302 >"$LAB_TMP/heard" &
hearer=$!
lab_pids+=("$!")
line()	# line FILE: it has one
{
	[ -s "$1" ]
}
await line "$LAB_TMP/heard" && await line "$LAB_TMP/root" || fail "nobody to lie to"
mine=$(as nobody timeout 20 /usr/bin/python3 "$LAB_TMP/liar.py" "$(head -1 "$LAB_TMP/heard")" 5302 5301) || fail "the liar"
wait "$hearer"
printf '%s 127.0.0.1 %s\n' own "$mine" nobody $((mine < 65535 ? mine + 1 : 1025)) left "$mine" end "$mine" >"$LAB_TMP/right"
tail -n +2 "$LAB_TMP/heard" | diff "$LAB_TMP/right" - || fail "who lies about its address is heard, or who does not is not"

# ---- deaths ----
cat >"$LAB_TMP/deaths.py" <<'END'
import os, signal, socket, subprocess, sys, time
server = '''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 5303))
print('ready', flush=True)
while True:
    d, a = s.recvfrom(70000)
    s.sendto(d, a)
'''
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
c.connect(('127.0.0.1', 5303))
c.settimeout(0.2)
for i in range(int(sys.argv[1])):
    p = subprocess.Popen([sys.executable, '-S', '-c', server], stdout=subprocess.PIPE)
    p.stdout.readline()
    right, end = 0, time.monotonic() + 0.15
    while right < 50 or time.monotonic() < end:	# what was sent to the last one may be lost, or refused
        data = os.urandom(1 + (i * 7919 + right * 104729) % 60000)
        try:
            c.send(data)
            got = c.recv(70000)
            while got != data:	# late
                got = c.recv(70000)
            right += 1
        except (ConnectionRefusedError, TimeoutError):
            pass
    c.send(b'unread')
    p.kill()
    p.wait()
maps = sum('fastnet-channel' in l for l in open('/proc/self/maps'))
print('channels', maps < 4, maps)
END
on_fabric timeout 120 python3 "$LAB_TMP/deaths.py" $([ -n "$LONG" ] && echo 200 || echo 10) >"$LAB_TMP/deaths" || fail "deaths"
grep -q 'channels True' "$LAB_TMP/deaths" || fail "channels of the dead are kept: $(cat "$LAB_TMP/deaths")"
[ "$(udp_out python3)" -gt 300 ] || fail "what survived went through the kernel"
