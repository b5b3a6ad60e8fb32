# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Uploads from a kernel whose veth has its offloads, as everybody's has: 64 KiB frames with unfinished checksums. nginx's
# DAV takes them, byte for byte, nothing is dropped for its size, and the peer need not send much again.
lab_need nginx curl

# Segments that the client's kernel has sent again.
retransmitted()
{
	lab_exec_client awk '/^Tcp:/ { if (n) print $n; for (i = 1; i <= NF; i++) if ($i == "RetransSegs") n = i }' /proc/net/snmp
}

for pmd in af_packet af_xdp tap; do
	lab_make $pmd
	nginx_conf 1 on
	mkdir -p "$LAB_TMP/put"
	chmod 777 "$LAB_TMP/put"
	under_fastnet nginx -c "$LAB_TMP/nginx.conf"
	await test -s "$LAB_TMP/nginx.pid" || fail "$pmd: nginx does not start"
	await lab_exec_client curl -sf -m 2 "http://$LAB_SERVER_IP/hello" || fail "$pmd: no answer"
	worker=$(nginx_workers)

	before=$(retransmitted)
	lab_exec_client curl -sf -m 30 -T "$LAB_TMP/www/big" "http://$LAB_SERVER_IP/put/$pmd" || fail "$pmd: upload: status $?"
	again=$(($(retransmitted) - before))
	cmp "$LAB_TMP/www/big" "$LAB_TMP/put/$pmd" || fail "$pmd: the file is damaged"
	at_least "$worker" tcp_bytes_in 20000000
	kernel_has_no_connection 80
	for reason in ETHER_GSO IP4_SHORT TCP_CSUM; do
		[ "$(counter "$worker" "$reason")" = 0 ] || fail "$pmd: $reason: $(counter "$worker" "$reason") packets dropped"
	done
	# 20 MB are 14,000 segments; sent once a timeout each, they would take an hour
	[ $again -lt 500 ] || fail "$pmd: the peer sent $again segments again"
	echo "$pmd: $again of 14,000 segments sent again, $(counter "$worker" tcp_in) packets received"
	stop_nginx
done
