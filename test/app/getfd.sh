# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# pidfd_getfd(2): of the own process it is a dup, in which data goes both ways. Another process gets what the kernel has: for a
# connection a socket that is not connected and says so, for a listener its kernel's side, which works; the process that it
# was taken from does not notice.
lab_need python3
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/server.py" <<'END'
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
s = socket.create_server(("0.0.0.0", 8000))
while True:
    c, a = s.accept()
    me = os.pidfd_open(os.getpid())
    fd = libc.syscall(438, me, c.fileno(), 0) if c.recv(1) == b"n" else libc.pidfd_getfd(me, c.fileno(), 0)
    d = socket.socket(fileno=fd)
    d.sendall(b"%d %s\n" % (c.fileno(), d.getpeername()[0].encode()))
    while data := d.recv(65536):
        c.sendall(data)
    d.close()
    c.close()
    os.close(me)
END
cat >"$LAB_TMP/thief.py" <<'END'
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
victim = os.pidfd_open(int(sys.argv[1]))
def take(fd):
    got = libc.syscall(438, victim, fd, 0)
    assert got >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=got)
def fails(call, *errors):
    try:
        print("no error:", call())
        sys.exit(1)
    except OSError as e:
        assert e.errno in errors, e
c = take(int(sys.argv[2]))
assert (c.family, c.type) == (socket.AF_INET, socket.SOCK_STREAM)
c.settimeout(2)
fails(lambda: c.recv(10), errno.ENOTCONN)
fails(lambda: c.send(b"x"), errno.EPIPE, errno.ENOTCONN)
fails(c.getpeername, errno.ENOTCONN)
c.close()
l = take(int(sys.argv[3]))
assert l.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
l.close()
END
cat >"$LAB_TMP/client.py" <<'END'
import socket, sys
for how in b"n", b"l":
    c = socket.create_connection(("10.9.0.2", 8000), 10)
    c.sendall(how)
    f = c.makefile("rb")
    line = f.readline().split()
    assert line[1] == b"10.9.0.1", line
    for n in 1, 100000:
        c.sendall(b"x" * n)
        assert len(f.read(n)) == n
    if how == b"l":
        print(line[0].decode(), flush=True)
        sys.stdin.readline()
        c.sendall(b"still")
        assert f.read(5) == b"still"
    c.shutdown(socket.SHUT_WR)
    assert not f.read(1)
END
under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 8000 || fail "the server does not answer"
mkfifo "$LAB_TMP/go"
lab_exec_client timeout 30 python3 "$LAB_TMP/client.py" <"$LAB_TMP/go" >"$LAB_TMP/fd" &
client=$!
exec {go}>"$LAB_TMP/go"
await grep -q . "$LAB_TMP/fd" || fail "the process's own connection"
fd=$(cat "$LAB_TMP/fd")
lab_exec_server python3 "$LAB_TMP/thief.py" "$LAB_SERVER_PID" "$fd" 3 || fail "another process, natively"
lab_exec_server "$RUN" --nic "$LAB_SPEC" python3 "$LAB_TMP/thief.py" "$LAB_SERVER_PID" "$fd" 3 || fail "another process under Fastnet"
echo >&"$go"
wait "$client" || fail "the connection was disturbed"
