# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Connections that leave the image: the next program reads and writes a kernel socketpair, a relay couples it to the stack.
lab_need python3 nc cmp
lab_make af_packet
lab_offloads off

cat >"$LAB_TMP/server.py" <<'END'
# Each connection to port 7000 names in its first byte how it is handed over; the rest is sent back by the other program.
import array, os, resource, socket, subprocess, sys
srv = socket.socket()
srv.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
srv.bind(("0.0.0.0", 7000))
srv.listen()

def forked(c):              # inetd: onto 0 and 1, exec
    pid = os.fork()
    if not pid:
        os.dup2(c.fileno(), 0)
        os.dup2(c.fileno(), 1)
        os.execvp("cat", ["cat"])
    c.close()
    os.waitpid(pid, 0)

def popened(c):             # the dup2 is in a vfork child
    subprocess.run(["cat"], stdin=c, stdout=c)
    c.close()

def inherited(c):           # FIONCLEX, then system()
    c.set_inheritable(True)
    os.system("cat <&%d >&%d" % (c.fileno(), c.fileno()))
    c.close()

def spawned(c):
    fd = c.fileno()
    pid = os.posix_spawnp("cat", ["cat"], os.environ,
                          file_actions=[(os.POSIX_SPAWN_DUP2, fd, 0), (os.POSIX_SPAWN_DUP2, fd, 1)])
    c.close()
    os.waitpid(pid, 0)

def passed(c):              # SCM_RIGHTS to another program
    a, b = socket.socketpair()
    p = subprocess.Popen([sys.executable, "-c", """
import array, os, socket
u = socket.socket(fileno=0)
_, anc, _, _ = u.recvmsg(1, socket.CMSG_SPACE(4))
fd = array.array("i", anc[0][2])[0]
os.dup2(fd, 0)
os.dup2(fd, 1)
os.execvp("cat", ["cat"])
"""], stdin=b, stdout=subprocess.DEVNULL, env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
    b.close()
    a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [c.fileno()]))])
    a.close()
    c.close()
    p.wait()

def both(c):                # the parent goes on with its number after the child's program has ended
    subprocess.run(["head", "-c", "5"], stdin=c, stdout=c)
    while data := c.recv(65536):
        c.sendall(data)
    c.close()

def named(c):               # the true address, in this image and in the next one
    os.dup2(c.fileno(), 0)
    here = socket.socket(fileno=os.dup(0), family=socket.AF_INET).getpeername()
    os.set_inheritable(0, True)
    out = subprocess.run([sys.executable, "-c", """
import socket
s = socket.socket(fileno=0, family=socket.AF_INET)
print(s.getpeername()[0], s.getsockname()[0], s.getsockname()[1])"""], stdin=0, stdout=subprocess.PIPE).stdout.decode()
    c.sendall(("%s %s" % (here[0], out)).encode())
    c.close()
    fd = os.open("/dev/null", os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)

def asked(c):               # options of the connection, in the next image
    out = subprocess.run([sys.executable, "-c", """
import socket, struct
s = socket.socket(fileno=0, family=socket.AF_INET)
T = socket.IPPROTO_TCP
s.setsockopt(T, socket.TCP_NODELAY, 1)
print(s.getsockopt(T, socket.TCP_NODELAY), s.getsockopt(T, socket.TCP_INFO, 1)[0],
      s.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_INET,
      struct.unpack("iii", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
try:
    s.setsockopt(T, 99, 1)
except OSError as e:
    print(e.strerror)"""], stdin=c, stdout=subprocess.PIPE).stdout
    c.sendall(out)
    c.close()

def limited(c):             # no descriptor is left for a pair: dup2 says so, and nothing has changed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    full = []
    try:
        while True:
            full.append(os.dup(srv.fileno()))
    except OSError:
        pass
    try:
        os.dup2(c.fileno(), 0)
        c.sendall(b"converted ")
    except OSError as e:
        c.sendall(("%s " % e.strerror).encode())
    for fd in full:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    forked(c)

how = {b"f": forked, b"p": popened, b"i": inherited, b"s": spawned, b"r": passed, b"b": both, b"n": named, b"a": asked,
       b"l": limited}
while True:
    c, _ = srv.accept()
    first = c.recv(1)
    if first == b"t":           # the same as f, but the next connection need not wait for this one
        if not os.fork():
            forked(c)
            os._exit(0)
    elif first in how:
        how[first](c)
    c.close()
    print("done", first, flush=True)
END

# A connection whose other program sends back what it gets: lines of standard input there and back, until one says "wait",
# which waits for the end of the connection.
cat >"$LAB_TMP/client.py" <<'END'
import socket, sys
s = socket.create_connection((sys.argv[1], 7000))
s.sendall(b"t")
for line in sys.stdin.buffer:
    if line == b"wait\n":
        break
    s.sendall(line)
    got = b""
    while len(got) < len(line):
        got += s.recv(65536)
    print("same" if got == line else "differs", flush=True)
else:
    sys.exit()
try:
    s.recv(1)
except OSError:
    pass
print("over", flush=True)
END

under_fastnet python3 "$LAB_TMP/server.py"
await lab_exec_client nc -z "$LAB_SERVER_IP" 7000 || fail "no answer"
head -c 2000000 /dev/urandom >"$LAB_TMP/in"
for how in f p i s r b f; do
	(printf %s $how; cat "$LAB_TMP/in") |
		timeout 20 ip netns exec "$LAB_CLIENT_NS" nc -N "$LAB_SERVER_IP" 7000 >"$LAB_TMP/out" || fail "$how: status $?"
	cmp "$LAB_TMP/in" "$LAB_TMP/out" || fail "$how: what came back differs"
done
names=$(printf n | timeout 20 ip netns exec "$LAB_CLIENT_NS" nc -N "$LAB_SERVER_IP" 7000)
[ "$names" = "$LAB_CLIENT_IP $LAB_CLIENT_IP $LAB_SERVER_IP 7000" ] || fail "names: $names"
options=$(printf a | timeout 20 ip netns exec "$LAB_CLIENT_NS" nc -N "$LAB_SERVER_IP" 7000)
[ "$options" = "1 8 True (0, -1, -1)
Protocol not available" ] || fail "options: $options"
limited=$(printf labc | timeout 20 ip netns exec "$LAB_CLIENT_NS" nc -N "$LAB_SERVER_IP" 7000)
[ "$limited" = "Too many open files abc" ] || fail "RLIMIT_NOFILE: $limited"
kernel_has_no_connection 7000

relay_pid()
{
	ip netns pids "$LAB_SERVER_NS" | while read -r p; do
		grep -qx fastnet-relay "/proc/$p/comm" 2>/dev/null && echo "$p"
	done
}
client()	# client NAME: its lines are what >&"$fd" gets, its answers in $LAB_TMP/NAME
{
	mkfifo "$LAB_TMP/$1.in"
	timeout 30 ip netns exec "$LAB_CLIENT_NS" python3 "$LAB_TMP/client.py" "$LAB_SERVER_IP" <"$LAB_TMP/$1.in" >"$LAB_TMP/$1" &
	exec {fd}>"$LAB_TMP/$1.in"
}
answers()	# answers NAME N: so many lines have come back
{
	[ "$(grep -c same "$LAB_TMP/$1")" = "$2" ]
}

# A relay that is stopped keeps those waiting that it has; it takes others on when it runs again.
client first
first=$fd
echo hello >&"$first"
await answers first 1 || fail "stopped: the first connection does not work"
relay=$(relay_pid)
until kill -STOP "$relay" && grep -q '^271 ' "/proc/$relay/syscall"; do	# asleep in ppoll: it has no lock
	kill -CONT "$relay"
done
client second
second=$fd
echo hello >&"$second"
await sh -c "ip netns pids $LAB_SERVER_NS | xargs -I{} cat /proc/{}/comm | grep -c '^cat' | grep -qx 2" ||
	fail "stopped: the second connection is not converted"
! answers second 1 || fail "stopped: who has carried it?"
kill -CONT "$relay"
await answers second 1 || fail "stopped: the second connection hangs afterwards"
echo again >&"$first"
await answers first 2 || fail "stopped: the first connection hangs afterwards"

# With one that is killed go the connections that it had; the next one has another relay.
echo wait >&"$first"
kill -KILL "$relay"
await grep -q over "$LAB_TMP/first" || fail "killed: the peer of a connection is not told"
client third
third=$fd
echo hello >&"$third"
await answers third 1 || fail "killed: the next connection does not work"
[ "$(relay_pid)" != "$relay" ] || fail "killed: it is still there"
exec {first}>&- {second}>&- {third}>&-
relays()
{
	ip netns pids "$LAB_SERVER_NS" | while read -r p; do cat "/proc/$p/comm" 2>/dev/null; done | grep -c fastnet-relay
}
await sh -c "! ip netns pids $LAB_SERVER_NS | xargs -I{} cat /proc/{}/comm 2>/dev/null | grep -q fastnet-relay" ||
	fail "$(relays) relays are left"
