# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A program of one thread gets the lowest free number each time (POSIX open()), whatever the keeper does meanwhile: it asks
# for the interface's state, which takes long while others have the kernel's RTNL lock, and hears of images that come and go.
lab_need python3
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/server.py" <<'END'
import os, signal, socket, time
s = socket.create_server(("0.0.0.0", 8000))
c, a = s.accept()
while not c.recv(1):	# only looked whether somebody listens
    c.close()
    c, a = s.accept()
lowest = os.open("/dev/null", os.O_RDONLY)
os.close(lowest)
others = set()
def try_for(goes_on):
    tries = 0
    while goes_on():
        for i in range(1000):
            fd = os.open("/dev/null", os.O_RDONLY)
            os.close(fd)
            if fd != lowest:
                others.add(fd)
        tries += 1000
    return tries
end = time.monotonic() + 2.5	# the keeper asks once a second
n = try_for(lambda: time.monotonic() < end)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)	# no zombies, whose death the keeper looks into itself after a while
    for i in range(100):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
    os._exit(0)
n += try_for(lambda: os.waitpid(child, os.WNOHANG) == (0, 0))
c.sendall(b"%d numbers, beside %d also %s\n" % (n, lowest, repr(sorted(others)).encode()))
c.recv(1)
END
under_fastnet python3 "$LAB_TMP/server.py"
lab_await_port 8000 || fail "the server does not answer"
for i in 1 2; do
	while ip -n "$LAB_CLIENT_NS" link add fnrtnl$i type veth peer fnother$i; do
		ip -n "$LAB_CLIENT_NS" link del fnrtnl$i
	done 2>/dev/null &
	lab_pids+=($!)
done
cat >"$LAB_TMP/client.py" <<'END'
import socket
c = socket.create_connection(("10.9.0.2", 8000), timeout=60)
c.sendall(b"x")
said = c.recv(1000).decode()
print(said)
assert said.endswith(" also []\n")
END
lab_exec_client timeout 100 python3 "$LAB_TMP/client.py" || fail "other numbers"
kernel_has_no_connection 8000
