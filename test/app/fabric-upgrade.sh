# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Servers that hand their listeners over while clients come through shared memory: nginx replaces its binary (USR2) under
# load, and when nobody serves any more but the old master lives; HAProxy reloads with -x; a service manager that knows
# nothing of the library activates a server. No request fails.
lab_need nginx haproxy ab curl python3
fabric_make
nginx_conf 2 on
fabric_serve /usr/sbin/nginx -c "$LAB_TMP/nginx.conf"
pid=$LAB_TMP/nginx.pid
await test -s "$pid" || fail "nginx does not start"
await lab_exec_client curl -sf -m 2 http://127.0.0.1/hello || fail "no answer"

times=2
[ -z "$LONG" ] || times=10

# load PORT: 16 clients' requests in the background, until there were many.
load()
{
	fabric_start ab -q -s 20 -c 16 -n 6000 "http://127.0.0.1:$1/" >"$LAB_TMP/ab" 2>&1
	load=$!
}

loaded()
{
	wait "$load" || fail "ab at $1: $(cat "$LAB_TMP/ab")"
	grep -q '^Failed requests: *0' "$LAB_TMP/ab" || fail "$1: $(cat "$LAB_TMP/ab")"
	! grep -q '^Non-2xx' "$LAB_TMP/ab" || fail "$1: $(cat "$LAB_TMP/ab")"
}

# What pgrep calls the children of $1 that are workers.
workers_of()
{
	pgrep -P "$1" -f 'worker process'
}

replaced()
{
	[ "$(cat "$pid" 2>/dev/null)" != "$1" ] && [ -n "$(workers_of "$(cat "$pid")")" ]
}

workerless()
{
	[ -z "$(workers_of "$1")" ]
}

for ((i = 0; i < times; i++)); do
	old=$(cat "$pid")
	load 80
	kill -USR2 "$old"
	await replaced "$old" || fail "upgrade $i: no new master: $(cat "$LAB_TMP/error.log")"
	kill -WINCH "$old"
	await workerless "$old" || fail "upgrade $i: the old workers stay"
	kill -QUIT "$old"
	lab_await_exit "$old" 10 || fail "upgrade $i: the old master stays"
	loaded "upgrade $i"
done

# the old workers are gone before: who comes meanwhile waits for the new ones
old=$(cat "$pid")
kill -WINCH "$old"
await workerless "$old" || fail "the workers stay"
load 80
kill -USR2 "$old"
loaded "a late upgrade"
kill -QUIT "$old"
lab_await_exit "$old" 10 || fail "the old master stays"
[ "$(on_fabric curl -s -m 10 http://127.0.0.1/)" = "hello from nginx" ] || fail "wrong page"
[ "$(reason_of FABRIC ab)" -ge 18000 ] || fail "not through shared memory: $(cat "$LAB_TMP/fastnet.log")"
[ "$(reason_of FABRIC curl)" = 1 ] || fail "not through shared memory at last: $(cat "$LAB_TMP/fastnet.log")"
stop_nginx

cat >"$LAB_TMP/haproxy.cfg" <<END
global
	maxconn 500
	stats socket $LAB_TMP/stats mode 600 level admin expose-fd listeners
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
frontend web
	bind :81
	http-request return status 200 content-type text/plain string served
END
fabric_serve haproxy -W -S "$LAB_TMP/master" -f "$LAB_TMP/haproxy.cfg" -x "$LAB_TMP/stats"
await lab_exec_client curl -sf -m 2 http://127.0.0.1:81/ || fail "no answer from HAProxy: $(cat "$LAB_TMP/server.log")"
: >"$LAB_TMP/fastnet.log"
# The old worker gives its listeners within a second, or HAProxy goes on with it: a machine may be that busy.
reload()
{
	local tries

	for tries in 1 2 3; do
		kill -USR2 "$LAB_SERVER_PID"
		! lab_await_exit "$1" 10 || return 0
		grep -q "Failed to get the sockets" "$LAB_TMP/server.log" || return 1
	done
	return 1
}
for ((i = 0; i < times; i++)); do
	load 81
	old=$(pgrep -P "$LAB_SERVER_PID" | head -1)
	reload "$old" || fail "the old worker stays"
	loaded "reload $i of HAProxy"
done
[ "$(reason_of FABRIC ab)" -ge 6000 ] || fail "HAProxy not through shared memory: $(cat "$LAB_TMP/fastnet.log")"
lab_stop_server || :

cat >"$LAB_TMP/manager.py" <<'END'
import os, socket, sys
l = socket.socket()
l.bind(('127.0.0.1', 82))
l.listen(100)
os.dup2(l.fileno(), 3) if l.fileno() != 3 else l.set_inheritable(True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[1], sys.argv[1:])
END
cat >"$LAB_TMP/activated.py" <<'END'
import socket
l = socket.socket(fileno=3)
while True:
    c, _ = l.accept()
    c.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + c.recv(100)[:3])
    c.close()
END
: >"$LAB_TMP/fastnet.log"
lab_start_server python3 "$LAB_TMP/manager.py" "$RUN" python3 "$LAB_TMP/activated.py"
await lab_exec_client curl -sf -m 2 http://127.0.0.1:82/ || fail "no answer from who was activated"
[ "$(on_fabric curl -s -m 10 http://127.0.0.1:82/)" = GET ] || fail "wrong answer"
[ "$(reason_of FABRIC curl)" = 1 ] || fail "activated, not through shared memory: $(cat "$LAB_TMP/fastnet.log")"
lab_stop_server || :
