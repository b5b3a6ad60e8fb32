# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Programs under the library as clients of a kernel's server: curl fetches and posts, and what it was told to send arrives
# though it ends at once.
lab_need nginx curl nc python3
lab_make af_packet
lab_offloads off
nginx_conf 1 on
lab_exec_client nginx -c "$LAB_TMP/nginx.conf"
fast()
{
	lab_exec_server env FASTNET_LOG="$LAB_TMP/fastnet.log" FASTNET_LOG_LEVEL=info timeout 60 "$RUN" --nic "$LAB_SPEC" "$@"
}
fast curl -s "http://$LAB_CLIENT_IP/big" | cmp - "$LAB_TMP/www/big" || fail "download damaged"
[ "$(fast curl -s -o /dev/null -w '%{local_ip}' "http://$LAB_CLIENT_IP/hello")" = "$LAB_SERVER_IP" ] ||
	fail "curl did not go through the port"
lab_exec_client nc -l -p 9999 >"$LAB_TMP/received" &
receiver=$!
await sh -c "ip netns exec $LAB_CLIENT_NS ss -Hltn 'sport = :9999' | grep -q ."
fast python3 -c "
import os, socket
s = socket.create_connection(('$LAB_CLIENT_IP', 9999))
s.sendall(open('$LAB_TMP/www/big', 'rb').read())
os._exit(0)"
wait $receiver
cmp "$LAB_TMP/received" "$LAB_TMP/www/big" || fail "what was sent before exit did not arrive"
stop_nginx
