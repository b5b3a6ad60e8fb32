# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# One family of processes holds a port. A second worker is told who and serves its kernel sockets; when the holder is
# killed, the worker that nginx makes in its place takes the port; at a reload the new worker takes it from the old one as
# soon as that has ended, if it still has the right to (user root).
lab_need nginx curl
answers()
{
	lab_exec_client curl -sf -m 1 "http://$LAB_SERVER_IP/hello"
}
port_holder()
{
	local w

	for w in $(nginx_workers); do
		"$STAT" "$w" 2>/dev/null | grep -q '^port .*: open' && echo "$w"
	done
}
for user in www-data root; do
	lab_make af_packet
	lab_offloads off
	nginx_conf 2 on
	sed -i "s/^user .*/user $user;/" "$LAB_TMP/nginx.conf"
	under_fastnet nginx -c "$LAB_TMP/nginx.conf"
	await answers || fail "$user: no answer"
	await grep -q "is held by PID" "$LAB_TMP/fastnet.log" || fail "the second worker was not told who holds the port"
	holder=$(port_holder)
	grep -q "is held by PID $holder;" "$LAB_TMP/fastnet.log" || fail "PID $holder holds the port, the log says otherwise"
	[ "$(lab_exec_server curl -s http://127.0.0.1/hello)" = hello ] || fail "the kernel's side does not answer"
	kill -KILL "$holder"
	await answers || fail "$user: nobody took the port when its holder was killed"
	if [ $user = root ]; then
		old=$(port_holder)
		kill -HUP "$(cat "$LAB_TMP/nginx.pid")"
		lab_await_exit "$old" 10 || fail "the old worker does not end"
		await answers || fail "the new worker did not take the port after the reload"
		[ "$(port_holder)" != "$old" ] || fail "the old worker still holds the port"
	fi
	stop_nginx
done
