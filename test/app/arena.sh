# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What a process' stack takes of memory follows what it has: 6,000 connections with 2,000 bytes each on their way.
lab_need python3
fabric_make
cat >"$LAB_TMP/many.py" <<'END'
import os, socket, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (9000, 9000))
s = socket.create_server(("127.0.0.1", 8000), backlog=4096)
held = []
for i in range(3000):
    c = socket.create_connection(("127.0.0.1", 8000))
    held += c, s.accept()[0]
for a in held:
    a.send(b"x" * 2000)
for fd in os.listdir("/proc/self/fd"):
    if "fastnet-arena" in os.readlink("/proc/self/fd/" + fd):
        print(os.stat("/proc/self/fd/" + fd).st_blocks // 2048)
        break
else:
    print("none")
END
took=$(on_fabric timeout 60 python3 "$LAB_TMP/many.py") || fail "it does not get through"
[ "$took" -ge 4 ] && [ "$took" -le 32 ] || fail "$took MB of memory for 6,000 connections"
[ "$(reason_of FABRIC python3)" = 3000 ] || fail "the kernel had some of them"
