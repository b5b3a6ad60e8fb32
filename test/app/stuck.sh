# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Clients that read nothing leave buffers for the next one: 60 and 150 hold most of what a port has for sending, and one
# that reads has its megabyte all the same.
lab_need python3
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/server.py" <<'END'
import select, socket, time
listener = socket.create_server(("0.0.0.0", 8000), backlog=512)
for clients in 60, 150:
    held, poll = {}, select.poll()
    for i in range(clients):
        c = listener.accept()[0]
        c.setblocking(False)
        held[c.fileno()] = c
        poll.register(c, select.POLLOUT)
    quiet = time.monotonic()
    while time.monotonic() - quiet < 1:
        for fd, events in poll.poll(100):
            try:
                held[fd].send(b"x" * 65536)
                quiet = time.monotonic()
            except BlockingIOError:
                pass
    c = listener.accept()[0]
    c.sendall(b"y" * 1000000)
    c.close()
    for c in held.values():
        c.close()
END
cat >"$LAB_TMP/clients.py" <<'END'
import socket, sys
address = (sys.argv[1], 8000)
for clients in 60, 150:
    held = [socket.create_connection(address, 20) for i in range(clients)]
    reader = socket.create_connection(address, 20)
    got = 0
    while data := reader.recv(65536):
        got += len(data)
    print(clients, "clients that read nothing, the next got", got)
    assert got == 1000000
    for c in held:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.close()
END
under_fastnet python3 "$LAB_TMP/server.py"
await lab_exec_client ping -c 1 -W 1 "$LAB_SERVER_IP" >/dev/null
timeout 60 ip netns exec "$LAB_CLIENT_NS" python3 "$LAB_TMP/clients.py" "$LAB_SERVER_IP" ||
	fail "the next client is not served"
