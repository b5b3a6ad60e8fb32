# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A network laboratory for tests and benchmarks; source it from a bash script, as root.
#
#	. test/lab/lab.sh
#	lab_make af_xdp			# or af_packet, tap, kernel
#	lab_start_server fastnet-run --nic "$LAB_SPEC" nginx …
#	lab_exec_client curl "http://$LAB_SERVER_IP/"
#
# Two network namespaces joined by a veth; the kernel's end has 10.9.0.1/24, the fastnet port 10.9.0.2/24. `tap` has one
# namespace: the kernel's end of the tap is in it. `kernel` gives the server's end to the kernel, for comparison.
# Everything is removed at exit, whatever ends the script.

LAB_CLIENT_IP=10.9.0.1
LAB_SERVER_IP=10.9.0.2
LAB_TMP=
LAB_CLIENT_NS=
LAB_SERVER_NS=
LAB_CLIENT_IF=
LAB_SERVER_IF=
LAB_DEVARGS=
LAB_SPEC=
LAB_SERVER_PID=
lab_number=0
lab_namespaces=()
lab_pids=()
lab_huge_saved=

# A visible skip: what is missing, and Automake's status for it.
lab_skip()
{
	echo "SKIP: $*"
	exit 77
}

# Skip unless every program named is there.
lab_need()
{
	local tool

	for tool; do
		command -v "$tool" >/dev/null || lab_skip "$tool is not installed"
	done
}

# Those that we have started and that have not ended: somebody else may have the number of one that has.
lab_running()
{
	local pid

	for pid in "${lab_pids[@]}"; do
		! grep -qsx "PPid:[[:space:]]*$$" "/proc/$pid/status" || echo "$pid"
	done
}

lab_cleanup()
{
	local status=$? pid ns running

	trap - EXIT INT TERM
	running=$(lab_running)
	for pid in $running; do
		kill "$pid" 2>/dev/null
	done
	for pid in $running; do
		lab_await_exit "$pid" 5 || kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for ns in "${lab_namespaces[@]}"; do
		# daemons and their children, when a test has failed before it ended them
		for pid in $(ip netns pids "$ns" 2>/dev/null); do
			kill -9 "$pid" 2>/dev/null
		done
		ip netns del "$ns" 2>/dev/null
	done
	[ -z "$lab_huge_saved" ] || echo "$lab_huge_saved" >/proc/sys/vm/nr_hugepages
	[ -z "$LAB_TMP" ] || rm -rf "$LAB_TMP"
	exit "$status"
}

# lab_await_exit PID SECONDS: until the process has gone.
lab_await_exit()
{
	timeout "$2" tail --pid="$1" -s 0.1 -f /dev/null 2>/dev/null
}

lab_init()
{
	[ -z "$LAB_TMP" ] || return 0
	[ "$(id -u)" = 0 ] || lab_skip "network namespaces need root"
	lab_need ip ethtool
	LAB_TMP=$(mktemp -d "${TMPDIR:-/tmp}/fastnet-lab.XXXXXX") || exit 1
	trap lab_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	ip netns add "fnx$$" 2>/dev/null || lab_skip "network namespaces cannot be made here"
	ip netns del "fnx$$"
}

# lab_netns NAME: a namespace of its own name, loopback up, no IPv6 chatter.
lab_netns()
{
	ip netns add "$1"
	lab_namespaces+=("$1")
	ip -n "$1" link set lo up
	ip netns exec "$1" sh -c '
		for i in all default; do
			f=/proc/sys/net/ipv6/conf/$i/disable_ipv6
			[ ! -e $f ] || echo 1 >$f
		done'
}

# lab_make KIND: a fresh pair of namespaces; sets LAB_CLIENT_NS, LAB_SERVER_NS, LAB_CLIENT_IF, LAB_SERVER_IF, and for the
# port LAB_DEVARGS (as DPDK names it) and LAB_SPEC (a value for FASTNET_NIC).
lab_make()
{
	local kind=$1 id

	lab_init
	LAB_SERVER_IP=10.9.0.2
	lab_number=$((lab_number + 1))
	id=$$
	[ "$lab_number" = 1 ] || id=${lab_number}x$$
	LAB_SERVER_NS=fns$id
	LAB_SERVER_IF=fs$id
	lab_netns "$LAB_SERVER_NS"
	case $kind in
	tap)
		lab_make_tap
		;;
	af_packet | af_xdp | kernel)
		LAB_CLIENT_NS=fnc$id
		LAB_CLIENT_IF=fc$id
		lab_netns "$LAB_CLIENT_NS"
		lab_make_veth
		;;
	*)
		echo "lab_make: kind $kind is not known" >&2
		exit 1
		;;
	esac
	LAB_DEVARGS=net_${kind}0,iface=$LAB_SERVER_IF
	LAB_SPEC="dpdk:$LAB_DEVARGS address=$LAB_SERVER_IP/24 gateway=$LAB_CLIENT_IP"
	if [ "$kind" = kernel ]; then
		LAB_DEVARGS='' LAB_SPEC=''
		ip -n "$LAB_SERVER_NS" addr add "$LAB_SERVER_IP/24" dev "$LAB_SERVER_IF"
	fi
}

lab_make_veth()
{
	ip link add "$LAB_CLIENT_IF" netns "$LAB_CLIENT_NS" type veth peer name "$LAB_SERVER_IF" netns "$LAB_SERVER_NS"
	ip -n "$LAB_CLIENT_NS" addr add "$LAB_CLIENT_IP/24" dev "$LAB_CLIENT_IF"
	ip -n "$LAB_CLIENT_NS" link set "$LAB_CLIENT_IF" up
	ip -n "$LAB_SERVER_NS" link set "$LAB_SERVER_IF" up
}

# The interface is made beforehand, so that it has its address before the port is opened, and keeps it afterwards.
lab_make_tap()
{
	[ -c /dev/net/tun ] || lab_skip "/dev/net/tun is not there"
	LAB_CLIENT_NS=$LAB_SERVER_NS
	LAB_CLIENT_IF=$LAB_SERVER_IF
	ip netns exec "$LAB_SERVER_NS" ip tuntap add dev "$LAB_SERVER_IF" mode tap multi_queue ||
		lab_skip "a tap cannot be made here"
	ip -n "$LAB_SERVER_NS" addr add "$LAB_CLIENT_IP/24" dev "$LAB_CLIENT_IF"
	ip -n "$LAB_SERVER_NS" link set "$LAB_SERVER_IF" up
}

# lab_offloads on|off: of the kernel's end; off is what a wire would carry.
lab_offloads()
{
	ip netns exec "$LAB_CLIENT_NS" ethtool -K "$LAB_CLIENT_IF" tx "$1" gso "$1" tso "$1" >/dev/null 2>&1
}

lab_exec_client()
{
	ip netns exec "$LAB_CLIENT_NS" "$@"
}

lab_exec_server()
{
	ip netns exec "$LAB_SERVER_NS" "$@"
}

# lab_start_server CMD…: in the background in the server's namespace; output to $LAB_TMP/server.log, PID in
# LAB_SERVER_PID; ended with the lab, or by lab_stop_server.
lab_start_server()
{
	# Emptied here: lab_await_line must not find what the server before this one has said.
	: >"$LAB_TMP/server.log"
	ip netns exec "$LAB_SERVER_NS" "$@" >>"$LAB_TMP/server.log" 2>&1 &
	LAB_SERVER_PID=$!
	lab_pids+=("$LAB_SERVER_PID")
}

# lab_stop_server [SIGNAL]: end it and wait; its exit status.
lab_stop_server()
{
	local pid keep=()

	kill -"${1:-TERM}" "$LAB_SERVER_PID" 2>/dev/null
	lab_await_exit "$LAB_SERVER_PID" 10 || kill -9 "$LAB_SERVER_PID" 2>/dev/null
	for pid in "${lab_pids[@]}"; do
		[ "$pid" = "$LAB_SERVER_PID" ] || keep+=("$pid")
	done
	lab_pids=("${keep[@]}")
	wait "$LAB_SERVER_PID"
}

# lab_await_line REGEX [SECONDS]: until the server's log has such a line.
lab_await_line()
{
	timeout "${2:-10}" grep -qE -m1 "$1" <(tail -n +1 -F "$LAB_TMP/server.log" 2>/dev/null)
}

# lab_await_port PORT [SECONDS]: until the server accepts a connection there.
lab_await_port()
{
	local end=$((SECONDS + ${2:-10}))

	lab_need nc
	until lab_exec_client nc -z -w 1 "$LAB_SERVER_IP" "$1" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		[ -d "/proc/$LAB_SERVER_PID" ] || return 1
		read -r -t 0.05 <> <(:) || :
	done
}

# lab_hugepages N: at least N free huge pages of 2 MB until exit; false when the kernel has not got them. One script of
# the machine at a time, or the wrong number would be put back.
lab_hugepages()
{
	if [ -z "$lab_huge_saved" ]; then
		exec {lab_huge_fd}</proc/sys/vm/nr_hugepages
		flock -w 120 "$lab_huge_fd" || return 1
		lab_huge_saved=$(cat /proc/sys/vm/nr_hugepages)
	fi
	echo $((lab_huge_saved + $1)) >/proc/sys/vm/nr_hugepages
	[ "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" -ge "$1" ]
}

# lab_cpu_ticks PID: processor time that it has used, in ticks (1/100 s).
lab_cpu_ticks()
{
	awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}
