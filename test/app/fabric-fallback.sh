# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A client has connected by shared memory, and written; then nobody at the server will take it so. Its listener is there still:
# the connection becomes the kernel's, whatever state it is in, and the server accepts it with all that was written.
lab_need python3 cat
fabric_make
cat >"$LAB_TMP/fallback.py" <<'END'
import os, select, socket, subprocess, sys, zlib
how = sys.argv[1]
l = socket.create_server(('127.0.0.1', 0))
m = socket.create_server(('127.0.0.1', 0))
told, tell = os.pipe()
gates = [os.pipe() for i in range(3)]
text = {'long': b'0123456789abcdef' * 20000, 'cut': b'0123456789abcdef' * 20000, 'small': b'x' * 60000}.get(how, b'0123456789abcdef' * 4000)

def process(f):
    pid = os.fork()
    if pid == 0:
        l.close()
        try:
            f()
        except OSError as e:
            print(f.__name__, e, flush=True)
            os._exit(1)
        os._exit(0)
    return pid

def far():
    os.read(gates[1][0], 1)
    c = m.accept()[0]
    os.write(tell, b'f')
    m.close()
    while c.recv(100):
        pass

def write(s):                           # as much as is taken at once
    s.setblocking(False)
    n = 0
    try:
        while n < len(text):
            n += s.send(text[n:])
    except BlockingIOError:
        pass
    s.setblocking(True)
    return n

def read(s):
    got = b''
    while data := s.recv(65536):
        got += data
    return got

def client():
    m.close()
    os.read(gates[0][0], 1)
    s = socket.socket(socket.AF_INET6 if how == 'mapped' else socket.AF_INET)
    if how == 'small':                  # more than its own buffer takes of it
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
    if how == 'epoll':
        s.setblocking(False)
        ep = select.epoll()
        ep.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        s.connect_ex(l_name)
        ep.poll()
        s.setblocking(True)
    else:
        s.connect(('::ffff:127.0.0.1', l_name[1]) if how == 'mapped' else l_name)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if how in ('closed', 'cut', 'exit'):
        n = len(text)
        s.sendall(text)
    elif how == 'more':                 # the second piece is held, the third never leaves the program's buffer so
        n = s.send(text[:1000]) + s.send(text[1000:3000], socket.MSG_MORE)
        n += s.send(text[n:n + 100], socket.MSG_MORE)
    else:
        n = write(s)
    s.settimeout(20)
    if how == 'dup':
        t = socket.socket(fileno=os.dup(s.fileno()))
        s.close()
        s = t
        s.settimeout(20)
    if how == 'half':
        s.shutdown(socket.SHUT_WR)
    if how in ('closed', 'cut', 'exit'):
        s.close()
    os.write(tell, b'c')
    if how == 'exit':
        os.read(gates[2][0], 1)
        return
    if how in ('closed', 'cut'):
        o = socket.create_connection(l_name)
        o.settimeout(20)
        o.recv(1)
        return
    if how == 'epoll':
        while not ep.poll(20)[0][1] & select.EPOLLIN:
            pass
    got = s.recv(1)
    assert got == b'?', got
    if how != 'half':
        s.sendall(text[n:])
        if s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 1 or s.getpeername()[1] != l_name[1]:
            print(how, 'has lost its options or name')
            os._exit(1)
        s.shutdown(socket.SHUT_WR)
    got = read(s).decode()
    if got != f'{len(text)} {zlib.crc32(text)}' and how != 'half':
        print(how, 'wrote', len(text), 'and the server has', got, flush=True)
        os._exit(1)

l_name = l.getsockname()
b, f = process(client), process(far)
here = m.getsockname()
m.close()
l.settimeout(0)
try:
    l.accept()                          # it has a stack, and a name to be met by
except BlockingIOError:
    pass
l.settimeout(20)
c = socket.create_connection(here)
os.write(gates[1][1], b'g')
assert os.read(told, 1) == b'f'
p = subprocess.Popen(['cat'], stdin=c)  # a relay has that from here on; we have not looked
os.write(gates[0][1], b'g')
assert os.read(told, 1) == b'c'
c.close()
if how == 'exit':                       # it can know before it ends
    for i in range(10):
        select.select([l], [], [], 0.01)
os.write(gates[2][1], b'g')
s = l.accept()[0]
if how in ('closed', 'cut', 'exit'):
    got = read(s)
    assert got == text, len(got)
    if how != 'exit':
        l.accept()[0].sendall(b'!')
else:
    s.sendall(b'?')
    got = read(s)
    s.sendall(f'{len(got)} {zlib.crc32(got)}'.encode())
    s.close()
p.kill()
p.wait()
sys.exit(any(os.waitpid(pid, 0)[1] for pid in (b, f)))
END
ways="wait long small more half dup epoll mapped closed cut exit"
for how in $ways; do
	lab_exec_client timeout 30 python3 "$LAB_TMP/fallback.py" $how || fail "$how fails on the kernel"
	on_fabric timeout 60 python3 "$LAB_TMP/fallback.py" $how || { echo "$how: status $?"; wrong=1; }
done
[ -z "${wrong:-}" ] || fail "a client was not served"
[ "$(reason_of FABRIC python3)" -ge 22 ] || fail "they were not by shared memory before"
[ "$(reason_of FABRIC_BACK python3)" -ge 8 ] || fail "nobody says that they are the kernel's: $(cat "$LAB_TMP/fastnet.log")"
