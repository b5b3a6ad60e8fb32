# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Privileges that one of several processes gives up which share a stack, as sshd and vsftpd do: accept as root, fork,
# become nobody in the child, and serve there. The child's connections are the kernel's then, it has no memory in common
# with its parent, and the parent goes on. A set*id that changes nothing changes nothing. A new user namespace can be had
# while a port is open.
lab_need python3
lab_make af_packet
lab_offloads off
mkdir "$LAB_TMP/root"
cat >"$LAB_TMP/server.py" <<'END'
import ctypes, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
s = socket.create_server(("0.0.0.0", 8000), backlog=128)
def must(ret):
    assert ret == 0, os.strerror(ctypes.get_errno())
def capset():
    must(libc.capset(struct.pack("II", 0x20080522, 0), bytes(24)))
drop = {
    b"u": lambda: (os.setgroups([]), os.setgid(65534), os.setuid(65534)),
    b"e": lambda: os.seteuid(65534),
    b"r": lambda: must(libc.syscall(117, 65534, 65534, 65534)),
    b"c": lambda: os.chroot(sys.argv[1]),
    b"b": capset,
    b"n": lambda: (os.setuid(0), os.setresgid(-1, 0, -1), os.seteuid(0)),
}
def echo(c):
    while d := c.recv(65536):
        c.sendall(d)
while True:
    c, a = s.accept()
    what = c.recv(1)
    if what == b"U":	# the kernel refuses it to who has several threads
        must(libc.unshare(0x10000000))
        c.sendall(b"new\n")
        continue
    if os.fork() == 0:
        maps = open("/proc/self/maps")
        held = "fastnet-arena" in maps.read()
        drop[what]()
        maps.seek(0)
        c.sendall(b"%d%d\n" % (held, "fastnet-arena" in maps.read()))
        echo(c)
        os._exit(0)
    c.close()
END
cat >"$LAB_TMP/client.py" <<'END'
import os, socket, sys, threading
def one(what, want):
    c = socket.create_connection(("10.9.0.2", 8000), timeout=10)
    c.sendall(what)
    said = c.recv(3)
    assert said == want, (what, said)
    data, got = os.urandom(300000), b""
    t = threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR)))
    t.start()
    while d := c.recv(65536):
        got += d
    t.join()
    assert got == data, "%s: %d bytes of %d came back" % (what, len(got), len(data))
for what in b"u", b"e", b"r", b"c", b"b":
    one(what, b"10\n")
one(b"n", b"11\n")
held = [socket.create_connection(("10.9.0.2", 8000), timeout=10) for i in range(20)]
for c in held:
    c.sendall(b"u")
for c in held:
    assert c.recv(3) == b"10\n"
for c in held:
    c.sendall(b"still")
    assert c.recv(5) == b"still"
    c.close()
c = socket.create_connection(("10.9.0.2", 8000), timeout=10)
c.sendall(b"U")
assert c.recv(4) == b"new\n"
END
under_fastnet python3 "$LAB_TMP/server.py" "$LAB_TMP/root"
lab_await_port 8000 || fail "the server does not answer"
lab_exec_client timeout 60 python3 "$LAB_TMP/client.py" || fail "the client fails"
kernel_has_no_connection 8000
none_left()
{
	[ "$(ip netns pids "$LAB_SERVER_NS" | wc -w)" = 1 ]
}
await none_left || fail "processes are left: $(ip netns pids "$LAB_SERVER_NS")"
lab_await_port 8000 || fail "the server does not answer any more"
[ "$(lab_exec_server "$STAT" --json "$LAB_SERVER_PID" | grep -c '"state": *"ESTABLISHED"')" = 0 ] || fail "connections are left"

# A worker that has no connections yet, and whose parent has opened the port (HAProxy's, which looked up a name), serves on it.
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/worker.py" <<'END'
import os, socket, sys
s = socket.create_server(("0.0.0.0", 8001))
try:
    socket.create_connection(("10.9.0.1", 1), 5)
except ConnectionRefusedError:
    pass
if os.fork():
    os.wait()
    sys.exit()
os.chroot(sys.argv[1])
os.setgid(65534)
os.setuid(65534)
while True:
    c, a = s.accept()
    while d := c.recv(65536):
        c.sendall(d)
    c.close()
END
under_fastnet python3 "$LAB_TMP/worker.py" "$LAB_TMP/root"
lab_await_port 8001 || fail "the worker does not answer"
lab_exec_client python3 -c '
import socket
c = socket.create_connection(("10.9.0.2", 8001), timeout=10)
c.sendall(b"hello")
assert c.recv(5) == b"hello"' || fail "the worker does not serve"
kernel_has_no_connection 8001
