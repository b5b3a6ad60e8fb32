# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Listeners that a program has not made itself: over exec, in a message, by LISTEN_FDS; and what it leaves behind for the
# next program: a listener that blocks as before, and the library when it executes itself.
lab_need python3 nc
lab_make af_packet
lab_offloads off

# Answers whoever connects to the listener that it has got by $1, in the way $2; descriptor 0 is a UNIX socket for `message`.
cat >"$LAB_TMP/server.py" <<'END'
import array, os, select, socket, sys
how, way = sys.argv[1:3]
if how == "message":
    _, anc, _, _ = socket.socket(fileno=os.dup(0)).recvmsg(1, socket.CMSG_SPACE(4))
    fd = array.array("i", anc[0][2])[0]
elif how == "listen_fds":
    fd = 3
else:
    fd = int(how)
srv = socket.socket(fileno=fd)
if way == "epoll":
    srv.setblocking(False)
    e = select.epoll()
    e.register(srv, select.EPOLLIN)
while True:                 # a client on a busy machine may have given up meanwhile, and come again
    while way == "epoll" and not e.poll():
        pass
    c, _ = srv.accept()
    try:
        c.sendall(b"served")
    except OSError:
        pass
    print("served by", os.getpid(), flush=True)
    c.close()
END

# The program above, started by one that knows nothing of Fastnet and has made the listener. The preload is for it alone.
cat >"$LAB_TMP/manager.py" <<'END'
import array, os, socket, sys
how, way, server = sys.argv[1:4]
run = sys.argv[4:]
srv = socket.socket()
srv.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
srv.bind(("0.0.0.0", 7000))
srv.listen()
r, w = os.pipe()            # the server stays until this process ends
a, b = socket.socketpair()
pid = os.fork()
if not pid:
    os.dup2(b.fileno() if how == "message" else r, 0)
    srv.set_inheritable(how != "message")
    if how == "inherit":
        how = str(srv.fileno())
    elif how == "listen_fds":
        os.dup2(srv.fileno(), 3)
        os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = "1", str(os.getpid())
    os.execvp(run[0], run + [sys.executable, server, how, way])
a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [srv.fileno()]))])
if os.get_blocking(srv.fileno()) and way == "block":
    print("blocks", flush=True)
os.waitpid(pid, 0)
END

export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
for row in "inherit block" "listen_fds epoll" "message block"; do
	# shellcheck disable=SC2086
	lab_start_server python3 "$LAB_TMP/manager.py" $row "$LAB_TMP/server.py" "$RUN" --nic "$LAB_SPEC"
	await sh -c "ip netns exec $LAB_SERVER_NS ss -Hltn 'sport = :7000' | grep -q ." || fail "$row: nobody listens"
	answered()
	{
		[ "$(timeout 2 ip netns exec "$LAB_CLIENT_NS" nc "$LAB_SERVER_IP" 7000 </dev/null)" = served ]
	}
	await answered || fail "$row: no answer on the port"
	lab_await_line 'served by' || fail "$row: it has not served"
	kernel_has_no_connection 7000
	pkill -P "$LAB_SERVER_PID"
	lab_stop_server
	# the one that was killed is not ours to wait for: the next row binds the same port
	await sh -c "[ -z \"\$(ip netns exec $LAB_SERVER_NS ss -Hltn 'sport = :7000')\" ]" || fail "$row: the port stays held"
done

# A listener that has been accepted from blocks in the next program, as it did in this one.
cat >"$LAB_TMP/exec.py" <<'END'
import os, socket, sys
srv = socket.socket()
srv.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
srv.bind(("0.0.0.0", 7000))
srv.listen()
print("listens", flush=True)
for _ in range(2):          # one from the kernel's side at least, which makes it non-blocking for us
    srv.accept()[0].close()
srv.set_inheritable(True)
env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
os.execvpe("sh", ["sh", "-c", """exec python3 -c '
import os, socket
print("blocking", os.get_blocking(%d), flush=True)
socket.socket(fileno=%d).accept()[0].sendall(b"next")
'""" % (srv.fileno(), srv.fileno())], env)
END
under_fastnet python3 "$LAB_TMP/exec.py"
lab_await_line listens || fail "exec: no listener"
lab_exec_server nc -z 127.0.0.1 7000 || fail "exec: no connection over loopback"
await lab_exec_client nc -z "$LAB_SERVER_IP" 7000 || fail "exec: no connection over the port"
lab_await_line 'blocking' || fail "exec: the next program does not run"
grep -q 'blocking True' "$LAB_TMP/server.log" || fail "exec: the listener is left non-blocking"
[ "$(timeout 5 ip netns exec "$LAB_SERVER_NS" nc 127.0.0.1 7000 </dev/null)" = next ] || fail "exec: the next program does not accept"
lab_stop_server

# A program that executes itself with a clean environment has the library again, and its configuration; others have not.
cat >"$LAB_TMP/self.py" <<'END'
import os, sys
me = os.path.realpath(sys.executable)
show = 'import os, sys; print("libfastnet" in open("/proc/self/maps").read(), os.environ.get("FASTNET_NIC") == sys.argv[1])'
def run(program, *args):
    pid = os.fork()
    if not pid:
        os.execve(program, [program, *args], {"KEPT": "1"})
    os.waitpid(pid, 0)
sys.stdout.flush()
run(me, "-c", show, os.environ["FASTNET_NIC"])
run("/bin/sh", "-c", me + " -c '" + show + "' x")
END
[ "$("$RUN" --nic "$LAB_SPEC" python3 "$LAB_TMP/self.py")" = "True True
False False" ] || fail "environment: $("$RUN" --nic "$LAB_SPEC" python3 "$LAB_TMP/self.py")"
