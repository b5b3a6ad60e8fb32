# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Processes that share a stack by fork go on meeting others over the fabric: a server forks a child for each connection, and
# the next client is another process. Children connect on their own account, and accept from the listener beside their
# parent. What a child had sent is read after it was killed, whatever the others send meanwhile. Nothing is the kernel's.
lab_need python3
fabric_make
cat >"$LAB_TMP/fork.py" <<'END'
import os, signal, socket, sys, threading, time, traceback
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
BIG = 300000

def listener():
    l = socket.socket()
    l.bind(('127.0.0.1', 0))
    l.listen(100)
    return l

def whole(s, n):
    data = b''
    while len(data) < n:
        d = s.recv(65536)
        if not d:
            break
        data += d
    return data

def text(n, k):
    return bytes((i * k) & 255 for i in range(1000)) * (n // 1000)

def process(f, *args):
    """A process of its own: nothing of ours is in it but its end of a pipe."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            f(*args)
            os.write(w, b'+')
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        finally:
            os._exit(0)
    os.close(w)
    return pid, r

def ended(p):
    said = os.read(p[1], 1) == b'+'
    os.close(p[1])
    return said

# ---- a server that forks for each connection, and its clients, all of which are there at a time ----

def serve(l, back):
    while True:
        c, who = l.accept()
        if os.fork() == 0:
            l.close()
            child(c, back)
            os._exit(0)
        c.close()

def child(c, back):
    what = c.recv(1)
    while what:
        if what == b'e':                # its bytes again
            c.sendall(whole(c, BIG))
        elif what == b'o':              # ask another server, on our own account
            with socket.create_connection(back, 20) as s:
                s.sendall(text(BIG, 3))
                s.shutdown(socket.SHUT_WR)
                c.sendall(whole(s, 5))
        elif what == b'k':              # send to it, and be killed before it reads
            s = socket.create_connection(back, 20)
            s.sendall(text(50000, 5))
            c.sendall(b'now')
            c.recv(1)
            os.kill(os.getpid(), signal.SIGKILL)
        what = c.recv(1)

def client(at, go, n):
    s = socket.create_connection(at, 20)
    for i in range(3):
        s.sendall(b'e' + text(BIG, n))
        assert whole(s, BIG) == text(BIG, n)
        if i == 0:
            os.read(go, 1)              # until all of us are connected
    s.sendall(b'o')
    assert whole(s, 5) == b'same!', 'the other server'

def other(l):
    """What children of the first server talk to."""
    while True:
        c, who = l.accept()
        threading.Thread(target=other_one, args=(c,)).start()

def other_one(c):
    c.sendall(b'same!' if whole(c, BIG) == text(BIG, 3) else b'not so')
    c.close()

def say(*what):
    print(*what, flush=True)

l, l2 = listener(), listener()
at, back = l.getsockname(), l2.getsockname()
server, second = process(serve, l, back), process(other, l2)
l.close()
l2.close()
r, w = os.pipe()
clients = [process(client, at, r, n) for n in range(1, 9)]
time.sleep(.2)
os.write(w, b'x' * len(clients))
say('clients', [ended(p) for p in clients])
os.kill(second[0], signal.SIGKILL)

# ---- a child is killed that has sent what its peer has not read; its siblings send, and then it is read ----

def killed(at, back):
    s = [socket.create_connection(at, 20) for i in range(3)]
    for c in s[1:]:
        c.sendall(b'e' + text(BIG, 7))
        assert whole(c, BIG) == text(BIG, 7)
    s[0].sendall(b'k')
    c, who = back.accept()
    assert whole(s[0], 3) == b'now'
    s[0].sendall(b'x')
    assert s[0].recv(1) == b'', 'the killed child'
    for c2 in s[1:]:
        for i in range(20):
            c2.sendall(b'e' + text(BIG, 11))
            assert whole(c2, BIG) == text(BIG, 11)
    assert whole(c, 50000) == text(50000, 5), 'what the killed one had sent'
    assert c.recv(1) == b''
os.kill(server[0], signal.SIGKILL)
l, l2 = listener(), listener()
server = process(serve, l, l2.getsockname())
p = process(killed, l.getsockname(), l2)
say('a killed child', ended(p))
os.kill(server[0], signal.SIGKILL)
l.close()
l2.close()

# ---- workers that share a stack, for there was a connection when they were forked, and the listener ----

def prefork(l, first):
    c, who = l.accept()
    c.sendall(b'%d' % os.getpid())
    for i in range(3):
        if os.fork() == 0:
            c.close()
            c = None
            break
    while True:
        d, who = l.accept()
        d.sendall(b'%6d' % os.getpid())
        d.recv(10)                      # busy with it
        d.close()

def ask(at, n, tell):
    s = socket.create_connection(at, 20)
    os.write(tell, b'%6d' % int(whole(s, 6)))
    s.recv(1)

l = listener()
at = l.getsockname()
server = process(prefork, l, at)
l.close()
s = socket.create_connection(at, 20)
s.recv(10)
r, w = os.pipe()
asked = [process(ask, at, n, w) for n in range(4)]
workers = [int(os.read(r, 6)) for n in range(4)]
say('all are at work', len(set(workers)))
for pid in set(workers) - {server[0]}:
    os.kill(pid, signal.SIGKILL)
os.kill(server[0], signal.SIGKILL)
say([ended(p) for p in asked], s.recv(1))
END
(cd "$LAB_TMP" && lab_exec_client timeout 60 python3 fork.py) >"$LAB_TMP/kernel" 2>&1 || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
(cd "$LAB_TMP" && on_fabric timeout 100 python3 fork.py) >"$LAB_TMP/fabric" 2>&1 || fail "$(cat "$LAB_TMP/fabric")"
cat "$LAB_TMP/fabric"
diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "processes that share a stack differ from the kernel's"
