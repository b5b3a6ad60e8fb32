# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What has happened to a connection before it is accepted: TCP_DEFER_ACCEPT, urgent data. Client and server are two processes;
# what they see through shared memory is what they see on the kernel's loopback.
lab_need python3
fabric_make
cat >"$LAB_TMP/accept.py" <<'END'
import os, select, socket, subprocess, sys, time
TCP = (socket.AF_INET, socket.SOCK_STREAM)
DEFER = (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)

def listener(defer=0):
    l = socket.socket(*TCP)
    l.bind(('127.0.0.1', 0))
    l.listen(100)
    if defer:
        l.setsockopt(*DEFER, defer)
    return l

# The other process: each line is Python, its value comes back.
other = None
def told():
    import ast
    for line in sys.stdin:
        tree = ast.parse(line)
        last = ast.Expression(tree.body.pop().value)
        exec(compile(tree, 'told', 'exec'), globals())
        try:
            value = eval(compile(last, 'told', 'eval'), globals())
        except OSError as e:
            value = type(e).__name__
        print(repr(value), flush=True)

def do(line):
    other.stdin.write(line + '\n')
    other.stdin.flush()
    return other.stdout.readline().strip()

def dial(l, name='s'):
    do("%s = socket.create_connection(('127.0.0.1', %d)); 0" % (name, l.getsockname()[1]))

def readable(s, ms=0):
    p = select.poll()
    p.register(s, select.POLLIN | select.POLLPRI | select.POLLRDHUP)
    return [e for fd, e in p.poll(ms)]

def accept(l):
    l.setblocking(False)
    try:
        return l.accept()[0]
    except OSError as e:
        return type(e).__name__
    finally:
        l.setblocking(True)

def recv(s, n=100, flags=0):
    s.settimeout(0 if flags & socket.MSG_DONTWAIT else 5)	# with one, Python waits for POLLIN first
    try:
        return s.recv(n, flags)
    except OSError as e:
        return type(e).__name__

def reset(name):
    return do("%s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0\\0\\0\\0\\0'); %s.close()" % (name, name))

# Nothing is to be seen of a connection before it has said something.
def silent(warm):
    l = listener(1 if not warm else 0)
    if warm:            # these processes have met
        dial(l)
        l.accept()[0].close()
        l.setsockopt(*DEFER, 5)
    ep = select.epoll()
    ep.register(l, select.EPOLLIN)
    dial(l)
    print('silent', l.getsockopt(*DEFER), readable(l, 100), [e for fd, e in ep.poll(0)], accept(l))
    if not warm:        # for a second, that is
        print('late', readable(l, 5000), recv(l.accept()[0], 10, socket.MSG_DONTWAIT))
        dial(l)
        print('reset', readable(l, 50), reset('s'), readable(l, 1500), accept(l))
        dial(l)
        dial(l, 't')
        print(do("t.sendall(b'words')"), reset('s'), reset('t'), readable(l, 5000), recv(l.accept()[0]), readable(l))
        return
    dial(l, 't')
    do("t.sendall(b'second first')")
    print('first', readable(l, 5000), recv(l.accept()[0]), readable(l), [e for fd, e in ep.poll(0)])
    do("s.sendall(b'then the other')")
    print('then', readable(l, 5000), recv(l.accept()[0]), readable(l))
    dial(l)
    print('shut', readable(l, 50), do("s.shutdown(socket.SHUT_WR)"), readable(l, 5000), recv(l.accept()[0]), readable(l))

# A server that sleeps in accept, or epoll_wait, is woken by the words, not by the connection.
def asleep(how):
    l = listener(30)
    ep = select.epoll()
    ep.register(l, select.EPOLLIN | (select.EPOLLET if how == 'edge' else 0))
    for i in range(20):
        other.stdin.write("s = socket.create_connection(('127.0.0.1', %d)); time.sleep(%f); s.sendall(b'word %d')\n" %
                          (l.getsockname()[1], 0.02 if i < 5 else 0, i))
        other.stdin.flush()
        if how != 'accept':
            assert [e for fd, e in ep.poll(10)] == [select.EPOLLIN]
            l.setblocking(False)
        c = l.accept()[0]
        print(how, i, recv(c, 100, socket.MSG_DONTWAIT))
        c.close()
        other.stdout.readline()

# Urgent bytes that come before the accept.
def urgent(inline, text, behind):
    l = listener()
    if inline:
        l.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    dial(l)
    print(inline, text, behind, do("s.sendall(%r); s.send(b'!', socket.MSG_OOB)" % text),
          do("s.sendall(%r)" % behind) if behind else '')
    c = l.accept()[0]
    print(readable(c, 5000), recv(c, 10, socket.MSG_OOB | socket.MSG_DONTWAIT), recv(c, 10, socket.MSG_OOB | socket.MSG_DONTWAIT))
    do("s.shutdown(socket.SHUT_WR)")
    got = []
    while (data := recv(c, 100000)):
        got.append((len(data), data[-3:]))
    print(got)
    c.send(b'answer')
    print(do("s.recv(10)"))

# Several: one at the beginning that was not read is in the stream no more.
def several(inline, text):
    l = listener()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
    dial(l)
    print(inline, text, [do("s.send(b'%s', %s)" % (c, 'socket.MSG_OOB' if c.isdigit() else '0')) for c in text])
    c = l.accept()[0]
    print(readable(c, 5000), recv(c, 10, socket.MSG_OOB | socket.MSG_DONTWAIT), do("s.shutdown(socket.SHUT_WR)"))
    got = []
    while (data := recv(c)):
        got.append(data)
    print(got)

if sys.argv[1] == 'other':
    told()
else:
    other = subprocess.Popen([sys.executable, sys.argv[0], 'other'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    {'silent': lambda: silent(False), 'warm': lambda: silent(True)}.get(sys.argv[1], lambda: None)()
    if sys.argv[1] in ('accept', 'level', 'edge'):
        asleep(sys.argv[1])
    if sys.argv[1] == 'urgent':
        for inline in 0, 1:
            for text in b'', b'abc', b'x' * 20000:
                for behind in b'', b'def', b'y' * 20000:
                    urgent(inline, text[:3] and text, behind)
            for text in '12', '123', '1a2', 'a12', '12a3b', '1234abc56', 'ab1':
                several(inline, text)
    other.stdin.close()
    other.wait()
END
for what in silent warm accept level edge urgent; do
	native=$(lab_exec_client timeout 60 python3 "$LAB_TMP/accept.py" "$what" 2>&1) || fail "natively: $what: $native"
	ours=$(on_fabric timeout 60 python3 "$LAB_TMP/accept.py" "$what" 2>&1) || fail "$what: $ours"
	[ "$native" = "$ours" ] || fail "$what: $(diff <(echo "$native") <(echo "$ours"))"
	echo "$what: $(wc -l <<<"$ours") lines"
done
[ "$(reason_of FABRIC python3)" -ge 40 ] || fail "not through shared memory"
