# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What was sent through shared memory is there, whatever the sender does next: after a poll() that gave several events it may
# sleep elsewhere and never come back. And what has come, and was not read, makes the end a reset, as on the kernel.
lab_need python3
fabric_make
cat >"$LAB_TMP/server.py" <<'END'
import os, select, socket, sys
l = socket.socket()
l.bind(('127.0.0.1', 0))
l.listen(10)
print(l.getsockname()[1], flush=True)
for how in sys.stdin:
    c = l.accept()[0]
    if 'held' in how:
        d = l.accept()[0]
        p = select.poll()
        p.register(c, select.POLLIN)
        p.register(d, select.POLLIN)
        while len(p.poll()) < 2:
            pass
        c.sendall(b'answer')
        print(sys.stdin.readline().strip(), flush=True)     # sleeps where no socket is
        d.close()
        continue
    if 'data' in how:
        c.sendall(b'x' * 6000)
    if 'urgent' in how:
        c.send(b'u', socket.MSG_OOB)
    print('go', flush=True)
    c.settimeout(20)
    try:
        print(c.recv(10), flush=True)
    except OSError as e:
        print(e.errno, flush=True)
END
cat >"$LAB_TMP/client.py" <<'END'
import os, socket, sys
how, at = sys.argv[1], ('127.0.0.1', int(sys.argv[2]))
def connect():
    s = socket.socket()
    s.setblocking('nonblock' not in how)
    try:
        s.connect(at)
    except BlockingIOError:
        pass
    return s
s = connect()
if 'held' in how:
    t = connect()
    s.sendall(b'x')
    t.sendall(b'x')
    s.settimeout(20)
    print(s.recv(10), flush=True)
sys.stdin.readline()
if 'shut' in how:
    s.shutdown(socket.SHUT_WR)
    sys.stdin.readline()
if 'exit' in how:
    os._exit(0)
s.close()
END
cat >"$LAB_TMP/drive.py" <<'END'
import os, subprocess, sys
P = subprocess.PIPE
server, client = sys.argv[1:3]
def start(*args):
    return subprocess.Popen(sys.argv[3:] + [sys.executable, *args], stdin=P, stdout=P, text=True, bufsize=1)
s = start(server)
port = s.stdout.readline().strip()
def tell(p, text=''):
    p.stdin.write(text + '\n')
for how in ('held', 'block', 'nonblock', 'nonblock exit', 'block data', 'block data exit', 'nonblock data exit', 'block urgent',
            'block urgent exit', 'nonblock shut', 'block shut'):
    c = start(client, how, port)
    tell(s, how)
    said = c.stdout.readline().strip() if how == 'held' else s.stdout.readline().strip()
    tell(s if how == 'held' else c, 'end')
    print(how, said, s.stdout.readline().strip(), flush=True)
    try:
        tell(c)
    except BrokenPipeError:
        pass
    c.wait()
END
lab_exec_client timeout 60 python3 "$LAB_TMP/drive.py" "$LAB_TMP/server.py" "$LAB_TMP/client.py" >"$LAB_TMP/kernel" || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
lab_exec_client timeout 100 python3 "$LAB_TMP/drive.py" "$LAB_TMP/server.py" "$LAB_TMP/client.py" "$RUN" >"$LAB_TMP/fabric" || fail "$(cat "$LAB_TMP/fabric")"
diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "not as on the kernel"
[ "$(wc -l <"$LAB_TMP/kernel")" = 11 ] || fail "said too little"
