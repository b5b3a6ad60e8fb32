# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# More is written than the shared memory holds: both sides of 60 connections write until nothing more is taken, and only
# then read; 100 connections each write 64 KiB before anybody reads; a process sends itself three times its memory. All
# of it arrives, and nobody waits for good.
lab_need python3
fabric_make
cat >"$LAB_TMP/full.py" <<'END'
import select, socket, sys, threading, zlib

role, port, count, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
block = bytes(range(256)) * 1024

def ends():
    if role == 'server':
        s = socket.create_server(('127.0.0.1', port), backlog=count)
        print('listening', flush=True)
        return [s.accept()[0] for _ in range(count)]
    return [socket.create_connection(('127.0.0.1', port)) for _ in range(count)]

def write(c, at):
    while at < total:
        try:
            at += c.send(memoryview(block)[at % 256:][:total - at])
        except BlockingIOError:
            break
    return at

def both_ways():
    sockets = {c.fileno(): c for c in ends()}
    sent, got = {}, {}
    ep = select.epoll()
    for fd, c in sockets.items():
        c.setblocking(False)
        sent[fd], got[fd] = write(c, 0), 0
    for fd in sockets:
        ep.register(fd, select.EPOLLIN | (select.EPOLLOUT if sent[fd] < total else 0))
    while any(sent[fd] < total or got[fd] < total for fd in sockets):
        events = ep.poll(20)
        if not events:
            sys.exit(f'{role}: nothing happens: {sum(sent.values())} sent, {sum(got.values())} received')
        for fd, ev in events:
            if ev & select.EPOLLIN:
                try:
                    data = sockets[fd].recv(1 << 18)
                except BlockingIOError:
                    continue
                if not data and got[fd] == total:
                    ep.unregister(fd)
                    continue
                if not data or data != (block + block)[got[fd] % 256:][:len(data)]:
                    sys.exit(f'{role}: wrong bytes behind {got[fd]}')
                got[fd] += len(data)
            if ev & select.EPOLLOUT:
                sent[fd] = write(sockets[fd], sent[fd])
                if sent[fd] == total:
                    ep.modify(fd, select.EPOLLIN)

def to_itself():
    s = socket.create_server(('127.0.0.1', port))
    c = socket.create_connection(s.getsockname())
    a = s.accept()[0]
    t = threading.Thread(target=lambda: (a.sendall(block * (total // len(block))), a.close()))
    t.start()
    n = 0
    while data := c.recv(1 << 17):
        n += len(data)
    t.join()
    if n != total // len(block) * len(block):
        sys.exit(f'{n} of {total} bytes')

to_itself() if role == 'itself' else both_ways()
END
for load in "60 4000000" "100 65536"; do
	# shellcheck disable=SC2086
	fabric_serve python3 "$LAB_TMP/full.py" server 7000 $load
	lab_await_line listening || fail "the server does not start"
	# shellcheck disable=SC2086
	on_fabric timeout 60 python3 "$LAB_TMP/full.py" client 7000 $load || fail "the client, $load"
	wait "$LAB_SERVER_PID" || fail "the server, $load: $(cat "$LAB_TMP/server.log")"
done
[ "$(reason_of FABRIC python3)" -ge 160 ] || fail "it went through the kernel: $(cat "$LAB_TMP/fastnet.log")"
on_fabric timeout 60 python3 "$LAB_TMP/full.py" itself 7001 0 200000000 || fail "to itself"
[ "$(reason_of FABRIC python3)" -ge 161 ] || fail "to itself through the kernel: $(cat "$LAB_TMP/fastnet.log")"
