# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Connections that leave the image: the next program reads and writes a kernel socketpair, a relay couples it to the stack.
lab_need python3 nc cmp
lab_make af_packet
lab_offloads off

cat >"$LAB_TMP/server.py" <<'END'
# Each connection to port 7000 names in its first byte how it is handed over; the rest is sent back by the other program.
import array, os, socket, subprocess, sys, time
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

how = {b"f": forked, b"p": popened, b"i": inherited, b"s": spawned, b"r": passed, b"b": both, b"n": named}
while True:
    c, _ = srv.accept()
    first = c.recv(1)
    if first in how:
        how[first](c)
    c.close()
    print("done", first, flush=True)
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
kernel_has_no_connection 7000
relays()
{
	ip netns pids "$LAB_SERVER_NS" | while read -r p; do cat "/proc/$p/comm" 2>/dev/null; done | grep -c fastnet-relay
}
await sh -c "! ip netns pids $LAB_SERVER_NS | xargs -I{} cat /proc/{}/comm 2>/dev/null | grep -q fastnet-relay" ||
	fail "$(relays) relays are left"
