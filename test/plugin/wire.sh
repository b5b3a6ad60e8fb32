# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The plugin alone over one kind of port (af_packet, af_xdp, tap), against the kernel's ping and UDP: run by
# test/plugin/wire-KIND.test as `wire_test KIND`.

srcdir=${srcdir:-$(dirname "$0")/../..}
builddir=${builddir:-.}
# shellcheck source=test/lab/lab.sh
. "$srcdir/test/lab/lab.sh"

wire=$builddir/test/plugin/wire
client=$builddir/test/plugin/udp_client
plugin=$builddir/.libs/fastnet-nic-dpdk.so
wire_number=0
wire_failed=0
export LSAN_OPTIONS="suppressions=$srcdir/test/plugin/lsan.supp:print_suppressions=0"

# wire_check NAME COMMAND…: one TAP line.
wire_check()
{
	local name=$1

	shift
	wire_number=$((wire_number + 1))
	if "$@" >"$LAB_TMP/check.log" 2>&1; then
		echo "ok $wire_number - $name"
	else
		echo "not ok $wire_number - $name"
		sed 's/^/# /' "$LAB_TMP/check.log" "$LAB_TMP/server.log"
		wire_failed=1
	fi
}

wire_start()
{
	lab_start_server "$wire" "$plugin" "$LAB_DEVARGS" "$@"
	lab_await_line '^open:' 20
}

# count KEY LINE: the number behind KEY in the program's closing lines.
wire_count()
{
	sed -n "s/^$2:.* $1 \([0-9]*\).*/\1/p" "$LAB_TMP/server.log" | tail -1
}

wire_ping()
{
	lab_exec_client ping -c "$1" -i 0.05 -W 1 -q "$LAB_SERVER_IP"
}

wire_forget()
{
	ip -n "$LAB_CLIENT_NS" neigh flush dev "$LAB_CLIENT_IF"
}

wire_udp()
{
	lab_exec_client "$client" "$LAB_SERVER_IP" 7 "$1" "$2" 16 sleep
}

# At most 3 ticks of processor time in a second of nothing to do.
wire_idle()
{
	local before after

	before=$(lab_cpu_ticks "$LAB_SERVER_PID")
	sleep 1
	after=$(lab_cpu_ticks "$LAB_SERVER_PID")
	echo "ticks: $before $after"
	[ $((after - before)) -le 3 ]
}

# Every packet of a slow ping woke the program, and hardly anything else did.
wire_woken()
{
	echo "rx $(wire_count rx total) woken $(wire_count woken total) idle $(wire_count idle total)"
	[ "$(wire_count woken total)" -ge 20 ] && [ "$(wire_count idle total)" -le 3 ]
}

# About $1 datagrams came with the peer's offloads on; of the others one in 65,536 may look so.
wire_unfinished()
{
	echo "udp $(wire_count udp total) unfinished $(wire_count unfinished total)"
	[ "$(wire_count udp total)" = 60000 ] && [ $(($(wire_count unfinished total) - $1)) -le 20 ] &&
		[ "$(wire_count unfinished total)" -ge "$1" ]
}

wire_set_mtu()
{
	ip -n "$LAB_CLIENT_NS" link set "$LAB_CLIENT_IF" mtu "$1"
	ip -n "$LAB_SERVER_NS" link set "$LAB_SERVER_IF" mtu "$1"
}

# Jumbo frames, where the driver has them; three rings that share the traffic.
wire_mtu()
{
	local mtu=9000 devargs=$LAB_DEVARGS

	[ "$1" != tap ] || return 0
	[ "$1" != af_xdp ] || mtu=3200
	[ "$1" != af_packet ] || LAB_DEVARGS=$devargs,qpairs=3
	wire_set_mtu $mtu
	wire_check "an MTU of $mtu" eval 'wire_start && wire_udp 2000 '$((mtu - 28))
	wire_check "ends" lab_stop_server
	wire_set_mtu 1500
	LAB_DEVARGS=$devargs
}

wire_flows()
{
	local i

	for ((i = 0; i < $1; i++)); do
		wire_udp 200 64 || return 1
	done
}

# Each flow has one queue or the other, and all are answered. A veth has one for AF_XDP.
wire_queues()
{
	local devargs=$LAB_DEVARGS

	[ "$1" != af_xdp ] || return 0
	[ "$1" != af_packet ] || LAB_DEVARGS=$devargs,qpairs=2
	wire_check "two queues" eval 'wire_start queues=2 && wire_flows 8'
	wire_check "ends" lab_stop_server
	LAB_DEVARGS=$devargs
}

wire_down_up()
{
	ip -n "$LAB_SERVER_NS" link set "$LAB_SERVER_IF" down
	wire_idle || return 1
	ip -n "$LAB_SERVER_NS" link set "$LAB_SERVER_IF" up
	[ "$1" != tap ] || ip -n "$LAB_SERVER_NS" addr replace "$LAB_CLIENT_IP/24" dev "$LAB_SERVER_IF"
	wire_ping 5
}

# Both processes answer on the one port, one after the other.
wire_fork()
{
	lab_await_line '^child: sleeps' 10 &
	while kill -0 $! 2>/dev/null; do
		wire_ping 5 || :
	done
	wait $! || return 1
	wire_ping 5 || return 1
	[ "$(wire_count icmp child)" -gt 0 ]
}

# under_pings INTERVAL LINE SECONDS: until the program has said so.
under_pings()
{
	local pinger

	lab_exec_client ping -i "$1" -q "$LAB_SERVER_IP" >/dev/null &
	pinger=$!
	lab_await_line "$2" "$3"
	kill $pinger
	wait $pinger
	cat "$LAB_TMP/server.log"
}

# After members' deaths while they sent, each frame goes again, at once.
wire_deaths()
{
	under_pings 0.002 "^deaths: done" 20
	if grep "^deaths: nobody" "$LAB_TMP/server.log"; then
		return 0
	fi
	lab_exec_client ping -c 5 -i 0.2 -W 1 -q "$LAB_SERVER_IP" | tee /dev/stderr | grep -q ' 0% packet loss'
}

# Deaths at any instruction, each followed by a count of the buffers; then everything goes again.
wire_instants()
{
	under_pings 0.001 '^deaths: ' 100
	if grep '^deaths: nobody' "$LAB_TMP/server.log"; then
		return 0
	fi
	grep '^deaths: done' "$LAB_TMP/server.log" && wire_udp 20000 1472
}

# So many buffers and no more, which are enough for what goes on here. The kernel has 2,048 of net_af_xdp's.
wire_buffers()
{
	local n=512

	[ "$1" != af_xdp ] || n=4095
	[ "$1" != af_xdp ] || wire_check "too few buffers" wire_refused 'buffers = 4095 at least' "$LAB_DEVARGS" buffers=4094
	wire_check "few buffers" eval "wire_start buffers=$n"' && wire_udp 20000 1472 && wire_ping 5'
	wire_check "ends" lab_stop_server
	wire_check "no more of them" eval 'wire_count buffers total; [ "$(wire_count buffers total)" -le '"$n"' ]'
}

# An error is one line that says what, on no other stream, and no crash.
wire_refused()
{
	local pattern=$1

	shift
	lab_exec_server "$wire" "$plugin" "$@" >"$LAB_TMP/out" 2>"$LAB_TMP/err"
	[ $? = 1 ] || return 1
	cat "$LAB_TMP/out" "$LAB_TMP/err"
	grep -qE "^open: .*$pattern" "$LAB_TMP/out" && [ "$(wc -l <"$LAB_TMP/out")" = 1 ]
}

wire_errors()
{
	local name=${LAB_DEVARGS%%,*}

	[ "$1" = tap ] || wire_check "an interface that is not there is named" wire_refused 'no interface nosuch0' "$name,iface=nosuch0"
	[ "$1" = tap ] || wire_check "an MTU that the interface has not got" wire_refused 'carries 1500' "$LAB_DEVARGS" mtu=9000
	[ "$1" != af_packet ] || wire_check "slots that would stall receiving" \
		wire_refused 'divides blocksz' "$LAB_DEVARGS,framesz=1536,blocksz=4096"
	[ "$1" = tap ] || wire_check "more queues than the device has" wire_refused 'queues = 2, but the device has 1:' "$LAB_DEVARGS" queues=2
	[ "$1" != tap ] || wire_check "more queues than the device has" wire_refused 'queues = 17, but the device has 16:' "$LAB_DEVARGS" queues=17
	wire_check "a wrong EAL argument prints nothing" wire_refused 'EAL cannot start' "$LAB_DEVARGS" eal=--no-such-thing
	wire_check "a driver that does not exist" wire_refused 'net_nosuch0' net_nosuch0
}

# wire_thief "always" | "now and then": a program that has huge pages, all that there are, until its standard input ends.
wire_thief()
{
	coproc THIEF { exec python3 -c '
import mmap, sys, threading, time
def take(n):
    try: return mmap.mmap(-1, n << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
    except OSError: return None
def free(): return sum(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("HugePages_Free"))
had = [take(free())]	# reserved, and still counted as free
print("has", flush=True)
end = threading.Thread(target=sys.stdin.read)
end.start()
while end.is_alive():
    if sys.argv[1] == "now and then":
        had.clear()
        time.sleep(0.003)
    while had and had[-1] or not had:
        had.append(take(1))
    had.pop()
    end.join(0.02)
' "$1"; }
	thief=$THIEF_PID
	read -r _ <&"${THIEF[0]}"
}

wire_thief_ends()
{
	eval "exec ${THIEF[1]}>&-"
	wait "$thief"
}

# Huge pages that others have reserved, or take meanwhile, are no reason to fail.
wire_thieves()
{
	local i

	wire_thief always
	wire_check "none is to be had" wire_refused 'hugepages = yes, but' "$LAB_DEVARGS" huge=yes
	wire_check "starts without" eval 'wire_start huge=auto && wire_ping 2 && grep -q "log 3: without huge pages" "$LAB_TMP/server.log"'
	wire_check "ends" lab_stop_server
	wire_thief_ends
	wire_thief "now and then"
	for i in 1 2 3 4; do
		wire_check "starts with or without, $i" eval 'wire_start huge=auto && wire_udp 2000 1472'
		wire_check "ends" lab_stop_server
	done
	wire_thief_ends
}

wire_test()
{
	local kind=$1

	[ -e "$plugin" ] || lab_skip "the plugin was not built"
	lab_need ping
	lab_make "$kind"
	: >"$LAB_TMP/server.log"
	wire_errors "$kind"

	wire_check "opens and answers ping" eval 'wire_start && wire_ping 25'
	wire_check "leaves signals, affinity and descriptors alone" grep -q '^untouched: yes' "$LAB_TMP/server.log"
	wire_check "uses no processor time while idle" wire_idle
	wire_check "echoes UDP, small" wire_udp 20000 64
	wire_check "echoes UDP, full size" wire_udp 20000 1472
	lab_offloads off
	wire_check "echoes UDP without the peer's offloads" wire_udp 20000 1000
	lab_offloads on
	wire_check "ends" lab_stop_server
	wire_check "every packet woke it, nothing else did" wire_woken
	[ "$kind" = tap ] || wire_check "unfinished checksums are taken, finished ones are not" wire_unfinished 40000
	[ "$kind" != tap ] || wire_check "a tap has no unfinished checksums" wire_unfinished 0
	wire_mtu "$kind"
	wire_queues "$kind"
	wire_buffers "$kind"

	wire_check "interface down and up again" eval 'wire_start && wire_ping 2 && wire_down_up '"$kind"
	wire_check "ends" lab_stop_server
	wire_check "another MAC address" eval 'wire_start mac=02:11:22:33:44:55 && wire_forget && wire_ping 5'
	wire_check "the peer sees it" eval 'ip -n "$LAB_CLIENT_NS" neigh show | grep -q 02:11:22:33:44:55'
	wire_check "ends" lab_stop_server
	if [ "$kind" = af_packet ]; then
		wire_check "after deaths in the midst of sending" eval 'wire_start deaths && wire_deaths'
		wire_check "ends" lab_stop_server
	fi
	if [ "$kind" != af_packet ]; then
		wire_check "after deaths at any instruction" eval 'wire_start instants=200 && wire_instants'
		wire_check "ends" lab_stop_server
	fi
	wire_check "after fork the child, then the parent" eval 'wire_start fork && wire_fork'
	wire_check "ends" lab_stop_server
	if lab_hugepages 80; then
		wire_check "with huge pages" eval 'wire_start huge=yes && wire_ping 5 && wire_udp 5000 1472'
		wire_check "ends" lab_stop_server
		[ "$kind" != af_packet ] || wire_thieves
	else
		wire_number=$((wire_number + 1))
		echo "ok $wire_number - with huge pages # SKIP the kernel has none to give"
	fi
	echo "1..$wire_number"
	exit $wire_failed
}
