# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the application tests have in common; sourced by test/app/run after BUILD and TOP are set.

# shellcheck source=test/lab/lab.sh
. "$TOP/test/lab/lab.sh"
RUN=$BUILD/tools/fastnet-run
STAT=$BUILD/tools/fastnet-stat
# Free huge pages are taken by whoever comes first: with another test's reserve a port might open or not.
export FASTNET_HUGEPAGES=${FASTNET_HUGEPAGES:-no}

fail()
{
	echo "FAIL: $*"
	[ -z "$LAB_TMP" ] || tail -n 20 "$LAB_TMP/server.log" "$LAB_TMP/fastnet.log" 2>/dev/null
	exit 1
}

# under_fastnet CMD…: start the server of a test under the library, log beside its own.
under_fastnet()
{
	FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info lab_start_server "$RUN" --nic "$LAB_SPEC" "$@"
}

# What the names of listeners begin with (shim/rendezvous.c), for those who make them up.
FABRIC_NAME=fastnet/listener/$(sed -nE 's/^#define FN_PEER_VERSION\s+//p' "$TOP/shim/peer.h")
export FABRIC_NAME

# What processes that lie to the fabric have in common, beside their programs in $LAB_TMP: other users run them.
fabric_lying()
{
	install -m 644 "$TOP/test/app/lying.py" "$LAB_TMP/lying.py"
}

# The same of nofile.py.
fabric_nofile()
{
	install -m 644 "$TOP/test/app/nofile.py" "$LAB_TMP/nofile.py"
}

# One namespace with nothing but a loopback interface, for processes that talk through shared memory.
fabric_make()
{
	lab_init
	LAB_SERVER_NS=fnf$$
	LAB_CLIENT_NS=$LAB_SERVER_NS
	LAB_SERVER_IP=127.0.0.1
	lab_netns "$LAB_SERVER_NS"
}

# fabric_serve CMD…: the server; on_fabric CMD…: a program beside it; both under the library, without any port. However busy
# the machine is, a connection that goes to the kernel is a failure: nobody is waited for.
fabric_serve()
{
	FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info lab_start_server "$RUN" "$@"
}

on_fabric()
{
	FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info lab_exec_client "$RUN" "$@"
}

# fabric_start CMD…: the same in the background; $! is its PID.
fabric_start()
{
	FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info \
		ip netns exec "$LAB_CLIENT_NS" "$RUN" "$@" &
	lab_pids+=("$!")
}

# reason_of NAME PROGRAM: how many sockets of the programs of that name, which have ended, went that way.
reason_of()
{
	sed -nE "s/.* $2\\[[0-9]+\\]: info: sockets:.* $1 ([0-9]+).*/\\1/p" "$LAB_TMP/fastnet.log" | awk '{ n += $1 } END { print n + 0 }'
}

# counter PID NAME: a counter of the stack of that process, by fastnet-stat --json.
counter()
{
	lab_exec_server "$STAT" --json "$1" | python3 -c '
import json, sys
def find(o, name):
    if isinstance(o, dict):
        if name in o and isinstance(o[name], int): return o[name]
        o = list(o.values())
    if isinstance(o, list):
        for v in o:
            r = find(v, name)
            if r is not None: return r
print(find(json.load(sys.stdin), sys.argv[1]) or 0)' "$2"
}

# at_least PID NAME N: the proof that bytes and connections went through the stack and not the kernel.
at_least()
{
	local got

	got=$(counter "$1" "$2")
	[ "${got:-0}" -ge "$3" ] || fail "$2 of PID $1 is ${got:-nothing}, expected at least $3"
}

# await CMD…: until it succeeds, ten seconds at most.
await()
{
	local end=$((SECONDS + 10))

	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		read -r -t 0.05 <> <(:) || :
	done
}

# The kernel of the server's namespace has no such connection: all of them were the stack's.
kernel_has_no_connection()
{
	[ -z "$(lab_exec_server ss -Htn state established "( sport = :$1 )" | grep -v 127.0.0.1)" ] ||
		fail "the kernel has connections on port $1"
}

nginx_conf()	# nginx_conf WORKERS DAEMON
{
	mkdir -p "$LAB_TMP/www"
	chmod 755 "$LAB_TMP" "$LAB_TMP/www"
	echo "hello from nginx" >"$LAB_TMP/www/index.html"
	head -c 1024 /dev/zero | tr '\0' x >"$LAB_TMP/www/1k"
	[ -e "$LAB_TMP/www/big" ] || head -c 20000000 /dev/urandom >"$LAB_TMP/www/big"
	cat >"$LAB_TMP/nginx.conf" <<-END
		user www-data;
		worker_processes $1;
		daemon $2;
		pid $LAB_TMP/nginx.pid;
		error_log $LAB_TMP/error.log info;
		events { worker_connections 2048; }
		http {
			access_log off;
			sendfile on;
			keepalive_requests 1000000;
			client_max_body_size 100m;
			server {
				listen 80;
				root $LAB_TMP/www;
				location = /hello { return 200 "hello\n"; }
				location /put/ { dav_methods PUT; root $LAB_TMP; }
			}
		}
	END
}

nginx_workers()
{
	pgrep -P "$(cat "$LAB_TMP/nginx.pid")"
}

stop_nginx()
{
	local pid

	pid=$(cat "$LAB_TMP/nginx.pid")
	kill -QUIT "$pid"
	lab_await_exit "$pid" 10 || fail "nginx does not end on SIGQUIT"
}
