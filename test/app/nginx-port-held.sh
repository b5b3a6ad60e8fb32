# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# One family of processes holds a port. A second worker is told who and serves its kernel sockets; when the holder is
# killed, another worker takes the port; at a reload a new worker takes it from the old one as soon as that has ended, though
# it has given up its privileges meanwhile (user www-data; a port of net_af_xdp is net_af_packet's then).
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
for how in af_packet:www-data af_packet:root af_xdp:www-data; do
	user=${how#*:}
	lab_make "${how%:*}"
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
	old=$(port_holder)
	kill -HUP "$(cat "$LAB_TMP/nginx.pid")"
	lab_await_exit "$old" 10 || fail "$user: the old worker does not end"
	await answers || fail "$user: no new worker took the port after the reload"
	[ "$(port_holder)" != "$old" ] || fail "$user: the old worker still holds the port"
	! grep -q "cannot be opened" "$LAB_TMP/fastnet.log" || fail "$user: $(grep "cannot be opened" "$LAB_TMP/fastnet.log")"
	[ $how != af_xdp:www-data ] || grep -q "net_af_packet takes its place" "$LAB_TMP/fastnet.log" || fail "af_xdp without rights?"
	stop_nginx
done
