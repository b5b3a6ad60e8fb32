# SPDX-License-Identifier: BSD-3-Clause
# Echoes, a process a connection, which says its PID first.
import os, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
s = socket.create_server(("0.0.0.0", 8000), backlog=128)
while True:
    c, a = s.accept()
    if os.fork() == 0:
        s.close()
        c.sendall(b"%d\n" % os.getpid())
        while True:
            d = c.recv(65536)
            if not d:
                os._exit(0)
            c.sendall(d)
    c.close()
