# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Several listeners of one address, each of a process of its own (SO_REUSEPORT): connections are shared among them. What one
# has not accepted when it closes or dies is reset, nothing else; the others go on, and another one joins.
lab_need python3
fabric_make
cat >"$LAB_TMP/worker.py" <<'END'
import socket, sys
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
l.bind(('127.0.0.1', int(sys.argv[1])))
l.listen(200)
print(l.getsockname()[1], flush=True)
for order in sys.stdin:
    if order == 'close\n':
        l.close()
    else:
        l.settimeout(10)
        for i in range(int(order)):
            c = l.accept()[0]
            c.sendall(sys.argv[2].encode() + c.recv(10))
            c.close()
    print('done', flush=True)
END
cat >"$LAB_TMP/share.py" <<'END'
import subprocess, sys
port = 0

def worker(name):
    global port
    p = subprocess.Popen(sys.argv[2:] + [sys.executable, sys.argv[1], str(port), name], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, bufsize=1)
    port = int(p.stdout.readline())
    return p

# Who asks is a process of its own: it holds n connections until it is told to read, and tells how many have said what.
ASK = """
import socket, sys
s = [socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20) for i in range(int(sys.argv[2]))]
for c in s: c.sendall(b'x')
print('held', flush=True)
got = {}
def hear(c):
    try: return c.recv(10).decode()
    except OSError as e: return str(e.errno)
sys.stdin.readline()
for c in s:
    h = hear(c)
    got[h] = got.get(h, 0) + 1
print(*['%s=%d' % i for i in got.items()], flush=True)
"""
def ask(n):
    p = subprocess.Popen(sys.argv[2:] + [sys.executable, '-c', ASK, str(port), str(n)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, bufsize=1)
    p.stdout.readline()
    return p

def hear(p):
    p.stdin.write('\n')
    return {k: int(v) for k, v in (w.split('=') for w in p.stdout.readline().split())}

def order(p, what):
    p.stdin.write(what + '\n')

a, b = worker('a'), worker('b')
n = 60
# all of them wait; each worker has some; then one closes
p = ask(n)
order(a, 'close')
a.stdout.readline()
order(b, str(n))
got = hear(p)
p.kill()
reset, served = got.get('104', 0), got.get('bx', 0)
print('closed', got, file=sys.stderr)
print('closed', reset + served == n, 5 < reset < n - 5, set(got) == {'104', 'bx'}, flush=True)
# the same when one is killed
b.kill()
b.wait()
c, d = worker('c'), worker('d')
p = ask(n)
c.kill()
c.wait()
order(d, str(n))
got = hear(p)
p.kill()
reset, served = got.get('104', 0), got.get('dx', 0)
print('killed', got, file=sys.stderr)
print('killed', reset + served == n, 5 < reset < n - 5, set(got) == {'104', 'dx'}, flush=True)
d.kill()
END
lab_exec_client timeout 60 python3 "$LAB_TMP/share.py" "$LAB_TMP/worker.py" >"$LAB_TMP/kernel" || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
lab_exec_client timeout 60 python3 "$LAB_TMP/share.py" "$LAB_TMP/worker.py" "$RUN" >"$LAB_TMP/fabric" || fail "$(cat "$LAB_TMP/fabric")"
diff "$LAB_TMP/kernel" "$LAB_TMP/fabric" || fail "listeners that share differ from the kernel's"
[ "$(grep -c 'True True True' "$LAB_TMP/kernel")" = 2 ] || fail "on the kernel: $(cat "$LAB_TMP/kernel")"
