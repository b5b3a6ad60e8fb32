# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Two processes share a stack and its connections. One computes, or is in a call that the library does not see, while the
# other hands them over to code past the library: many of them, or one of a client that has become many processes
# meanwhile. It goes on with them where it was. If who carries them is killed, it hears that they are over.
lab_need python3
fabric_make
cat >"$LAB_TMP/given.py" <<'END'
import glob, os, signal, socket, subprocess, sys
connections, children = map(int, sys.argv[1:3])
l = socket.create_server(('127.0.0.1', 0), backlog=100)
wait, go = os.pipe()

def client():
    os.close(go)
    conns = [socket.create_connection(l.getsockname()) for i in range(connections)]
    l.close()
    conns[0].recv(1)
    for i in range(children):           # but for one each has all of them, and the server hears of each therefore
        if os.fork() == 0:
            if i == 0:
                conns[0].close()
            os.read(wait, 1)
            os._exit(0)
    for i in range(50):                 # so it has, then
        conns[0].sendall(b'?')
        conns[0].recv(1)
    for c in conns:
        c.sendall(b'x')
    said = [c.recv(100) for c in conns]
    for c in conns:
        c.sendall(b'hello')
    got = []
    for c in conns:
        try:
            got.append(c.recv(100))
        except OSError as e:
            got.append(e.strerror)
    print(set(said), [g for g in got if g != b'hello'], len(got), flush=True)

def busy(conns):
    os.close(go)
    os.read(wait, 1)
    for c in conns:
        if 'killed' in sys.argv:
            try:
                while c.recv(100):
                    pass
            except OSError:
                pass
            c.close()
        else:
            c.sendall(c.recv(100))
    os._exit(0)

def kill_relay():
    ours = []
    for process in glob.glob('/proc/[0-9]*'):
        try:
            if open(process + '/comm').read() == 'fastnet-relay\n' and os.path.samefile('/proc/self/ns/net', process + '/ns/net'):
                ours.append(int(process[6:]))
        except OSError:
            pass        # has ended
    for relay in ours:
        os.kill(relay, signal.SIGKILL)
    assert ours, 'no relay'

pid = os.fork()
if pid == 0:
    client()
    os._exit(0)
conns = [l.accept()[0] for i in range(connections)]
l.close()
other = os.fork()
if other == 0:
    busy(conns)
for i in range(51):
    conns[0].sendall(b'!')
    if i < 50:
        conns[0].recv(1)
for c in conns:
    c.recv(1)
for c in conns:
    subprocess.run(['printf', 'other program'], stdout=c, check=True)
    c.close()
if 'killed' in sys.argv:
    os.kill(pid, signal.SIGKILL)
    kill_relay()
os.close(go)
assert os.waitpid(other, 0)[1] == 0
os.waitpid(pid, 0)
END
for how in "1 0" "1 20" "8 20" "40 0"; do
	lab_exec_client timeout 30 python3 "$LAB_TMP/given.py" $how >"$LAB_TMP/kernel" || fail "given.py $how fails on the kernel"
	on_fabric timeout 60 python3 "$LAB_TMP/given.py" $how >"$LAB_TMP/fabric" || fail "given.py $how"
	if ! diff "$LAB_TMP/kernel" "$LAB_TMP/fabric"; then echo "$how: not as on the kernel"; wrong=1; fi
done
on_fabric timeout 60 python3 "$LAB_TMP/given.py" 20 0 killed || fail "whose connections are over does not go on"
[ -z "${wrong:-}" ] || fail "who computed has lost connections"
[ "$(reason_of FABRIC python3)" -ge 50 ] || fail "not through shared memory"
