# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Stack and plugin without libfastnet.so, against the kernel's ping, curl and nc over one kind of port: run by
# test/plugin/serve-KIND.test as `serve_test KIND`. Every byte of what is carried is compared.

# shellcheck source=test/plugin/wire.sh
. "${srcdir:-$(dirname "$0")/../..}/test/plugin/wire.sh"

serve=$builddir/test/plugin/serve

serve_start()
{
	lab_start_server "$serve" "$plugin" "$LAB_DEVARGS" "$@"
	lab_await_line '^serving' 20
}

# A figure of the closing report: "stat NAME N", "drop NAME N".
serve_figure()
{
	sed -n "s/^$1 $2 //p" "$LAB_TMP/server.log"
}

serve_http()
{
	[ "$(lab_exec_client curl -s -m 5 -o /dev/null -w '%{http_code} %{size_download}' "http://$LAB_SERVER_IP/")" = "200 1024" ]
}

# serve_upload BYTES; serve_download compares what comes back.
serve_upload()
{
	head -c "$1" /dev/urandom >"$LAB_TMP/in"
	lab_exec_client timeout 60 nc -N "$LAB_SERVER_IP" 9 <"$LAB_TMP/in"
}

serve_download()
{
	lab_exec_client timeout 60 nc -d "$LAB_SERVER_IP" 19 >"$LAB_TMP/out"
	cmp "$LAB_TMP/in" "$LAB_TMP/out"
}

serve_echo()
{
	lab_exec_client timeout 60 nc -N "$LAB_SERVER_IP" 7 <"$LAB_TMP/in" >"$LAB_TMP/out"
	cmp "$LAB_TMP/in" "$LAB_TMP/out"
}

# Segments that the kernel of the client's namespace has sent again, so far.
serve_peer_retrans()
{
	lab_exec_client awk '/^Tcp:/ { if (n) print $n; for (i = 1; i <= NF; i++) if ($i == "RetransSegs") n = i }' /proc/net/snmp
}

# A peer with offloads hands over 64 KiB in one piece: they are taken as they are, none waits to be sent again.
serve_gso()
{
	local before

	before=$(serve_peer_retrans)
	wire_check "takes 50 MB from a peer with offloads" serve_upload 50000000
	wire_check "gives them back" serve_download
	wire_check "the peer had next to nothing to send again" eval 'echo "retransmitted: '"$before"' $(serve_peer_retrans)";
		[ $(($(serve_peer_retrans) - '"$before"')) -lt 2000 ]'
}

# Datagrams that the peer's kernel has joined (UDP_SEGMENT) cannot be told apart: told, counted, none delivered as one.
serve_joined_datagrams()
{
	wire_check "starts" serve_start
	wire_check "gets joined datagrams" lab_exec_client python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_UDP, 103, 1000)
for i in range(20): s.sendto(bytes(5000), (sys.argv[1], 7))' "$LAB_SERVER_IP"
	wire_check "hint about the peer's offloads" lab_await_line 'frames larger than the MTU.*ethtool -K' 5
	wire_check "ends" lab_stop_server
	wire_check "hint given once" [ "$(grep -c 'larger than the MTU' "$LAB_TMP/server.log")" = 1 ]
	wire_check "the drops are counted" [ "$(serve_figure drop ETHER_GSO)" = 20 ]
}

# A driver that cuts in software: what it cuts is what the stack would have sent.
serve_tso()
{
	wire_check "starts with TSO" serve_start tso=on
	wire_check "takes 50 MB" serve_upload 50000000
	wire_check "gives them back" serve_download
	wire_check "echoes them" serve_echo
	wire_check "ends" lab_stop_server
	wire_check "most segments were cut by the driver" serve_cut
}

# tso = off, where on would have it (serve_tso).
serve_no_tso()
{
	wire_check "starts without TSO" serve_start tso=off
	wire_check "takes 5 MB" serve_upload 5000000
	wire_check "echoes them" serve_echo
	wire_check "ends" lab_stop_server
	wire_check "the driver has cut nothing" [ -z "$(serve_figure stat tcp_tso)$(serve_figure drop TCP_CSUM)" ]
}

# 20 datagrams with an unfinished checksum, as the peer's offloads leave them; 20 with one that is wrong and looks finished.
serve_unfinished()
{
	lab_exec_client python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(20): s.sendto(bytes(100 + i), (sys.argv[1], 7))' "$LAB_SERVER_IP" && wire_ping 1
}

serve_wrong()
{
	lab_exec_client python3 -c '
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for i in range(20): s.sendto(struct.pack("!4H", 5000, 7, 108, 1) + bytes(100), (sys.argv[1], 0))' "$LAB_SERVER_IP" && wire_ping 1
}

# serve_sums SETTING UNFINISHED WRONG: how many of them are dropped for their checksum, all others being delivered.
serve_sums()
{
	local bad=$(($2 + $3)) good=$((40 - $2 - $3))	# a counter of 0 is not told
	local want="${bad#0}:${good#0}"

	wire_check "starts with csum=$1" serve_start "csum=$1"
	wire_check "gets datagrams" eval 'wire_ping 1 && serve_unfinished'
	wire_check "gets wrong ones" serve_wrong
	wire_check "ends" lab_stop_server
	wire_check "$2 unfinished and $3 wrong ones are dropped" eval 'grep -E "^(stat udp_in|drop UDP)" "$LAB_TMP/server.log"
		[ "$(serve_figure drop UDP_CSUM):$(serve_figure stat udp_in)" = "'"$want"'" ]'
}

serve_cut()
{
	grep -E '^stat tcp_(tso|out|retrans)' "$LAB_TMP/server.log"
	[ "$(serve_figure stat tcp_tso_segs)" -gt $(($(serve_figure stat tcp_out) / 2)) ] &&
		[ "$(serve_figure stat tcp_tso_segs)" -gt $(($(serve_figure stat tcp_tso) * 3)) ]
}

serve_no_drops()
{
	grep '^drop' "$LAB_TMP/server.log"
	! grep -qE '^drop (TCP|IP4|UDP|ICMP|ETHER)_(CSUM|GSO|SHORT|HEADER)' "$LAB_TMP/server.log"
}

serve_test()
{
	local kind=$1

	[ -e "$plugin" ] || lab_skip "the plugin was not built"
	lab_need ping curl nc python3
	lab_make "$kind"
	wire_check "starts" serve_start
	wire_check "answers ping" wire_ping 10
	wire_check "echoes UDP" wire_udp 10000 1472
	wire_check "HTTP" serve_http
	serve_gso "$kind"
	[ "$kind" = tap ] || lab_offloads off
	wire_check "takes 50 MB from a peer without offloads" serve_upload 50000000
	wire_check "gives them back" serve_download
	wire_check "echoes them" serve_echo
	wire_check "echoes UDP in fragments" wire_udp 1000 8000
	wire_check "uses no processor time while idle" wire_idle
	wire_check "ends" lab_stop_server
	wire_check "no packet was damaged" serve_no_drops
	[ "$kind" != tap ] || serve_tso
	[ "$kind" != tap ] || serve_no_tso
	if [ "$kind" = af_packet ]; then
		lab_offloads on
		serve_sums auto 0 20
		serve_sums verify 20 20
		serve_sums trust 0 0
		serve_joined_datagrams
	fi
	echo "1..$wire_number"
	exit $wire_failed
}
