# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The kernel gives out port numbers and does not know of the stack's connections: a number that it chooses for a listener
# serves, though a connection of the listener before still has it (TIME_WAIT). One that the program names is refused, as on
# Linux; test/app/oracle has that.
lab_need python3
lab_make af_packet
lab_offloads off
lab_exec_server sysctl -q net.ipv4.ip_local_port_range="40000 40000"
cat >"$LAB_TMP/server.py" <<'END'
import signal, socket
for i in range(3):
    s = socket.socket()
    s.bind(("0.0.0.0", 0))
    assert s.getsockname()[1] == 40000
    s.listen()
    c, a = s.accept()
    c.sendall(b"%d" % i)
    s.close()
    c.shutdown(socket.SHUT_WR)
    assert c.recv(1) == b""
    c.close()	# the first to close: TIME_WAIT
signal.pause()
END
cat >"$LAB_TMP/client.py" <<'END'
import socket, time
for i in range(3):
    end = time.monotonic() + 10
    while True:	# the next listener may not be there yet
        c = socket.socket()
        c.settimeout(10)
        if not c.connect_ex(("10.9.0.2", 40000)):
            break
        assert time.monotonic() < end, "listener %d does not answer" % i
    assert c.recv(1) == b"%d" % i
    assert c.recv(1) == b""
    c.close()
END
under_fastnet python3 "$LAB_TMP/server.py"
lab_exec_client timeout 60 python3 "$LAB_TMP/client.py" || fail "the client fails"
at_least "$LAB_SERVER_PID" tcp_passive_open 3
kernel_has_no_connection 40000
