# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The sides that bench/compare sets against each other: each a pair of network namespaces of its own that stays for the
# whole run, so that a round is nothing but its client. Sourced after test/lab/lab.sh.
#
#	kernel		the server's end of a veth is the kernel's
#	pinned		the same, with its receive work on the server's core
#	af_packet, af_xdp	it is a port of Fastnet
#	loopback	one namespace for both ends: the kernel's loopback interface
#	fabric		the same, both ends under Fastnet, no port

SERVER_CORE=0
CLIENT_CORE=1
PLACE=
AS=()		# a command before each program: setpriv …, for another user
busy_pids=()
declare -A side_client_ns side_server_ns side_address side_spec side_pid side_worker

is_fastnet()
{
	[ "$1" = af_packet ] || [ "$1" = af_xdp ] || [ "$1" = fabric ]
}

is_local()
{
	[ "$1" = loopback ] || [ "$1" = fabric ]
}

# One namespace, no wire; the client's address is the server's.
side_make_local()
{
	lab_init
	LAB_SERVER_NS=fnl$1$$
	LAB_CLIENT_NS=$LAB_SERVER_NS
	LAB_SERVER_IP=127.0.0.1
	LAB_SPEC=
	lab_netns "$LAB_SERVER_NS"
}

# The kernel receives in the softirq of the core that sends, which is the client's. RPS hands what arrives on the
# server's end to the server's core (Documentation/networking/scaling.rst); with PIN=napi a thread of the interface's own
# on that core does it instead (threaded NAPI, which on a veth needs GRO).
pin_receive()
{
	local mask thread

	mask=$(printf %x $((1 << SERVER_CORE)))
	if [ "$PIN" = rps ]; then
		lab_exec_server sh -c "echo $mask >/sys/class/net/$LAB_SERVER_IF/queues/rx-0/rps_cpus" ||
			lab_skip "RPS cannot be set here"
		return
	fi
	lab_exec_server ethtool -K "$LAB_SERVER_IF" gro on
	lab_exec_server sh -c "echo 1 >/sys/class/net/$LAB_SERVER_IF/threaded" || lab_skip "no threaded NAPI here"
	for thread in $(pgrep "^napi/$LAB_SERVER_IF"); do
		taskset -pc "$SERVER_CORE" "$thread" >/dev/null
	done
}

# Ports for some ten thousand connections a second, none of them a server's: TIME_WAIT is the side's that closes first,
# crr's client. The kernel's congestion control is Debian's default, which is also Fastnet's, or failing that the next
# plain one: a machine may have another default, and pacing (bbr) is no part of what is compared.
tune()
{
	local cc=cubic allowed=/proc/sys/net/ipv4/tcp_allowed_congestion_control

	grep -qw $cc $allowed || cc=reno
	lab_exec_client sh -c "
		echo 12000 65535 >/proc/sys/net/ipv4/ip_local_port_range
		echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse
		echo $cc >/proc/sys/net/ipv4/tcp_congestion_control"
	lab_exec_server sh -c "echo $cc >/proc/sys/net/ipv4/tcp_congestion_control"
}

side_make()
{
	local side=$1

	if is_local "$side"; then
		side_make_local "$side"
	elif is_fastnet "$side"; then
		lab_make "$side"
	else
		lab_make kernel
		[ "$side" != pinned ] || pin_receive
		[ -z "$WIRE" ] || lab_exec_server ethtool -K "$LAB_SERVER_IF" tx off gso off tso off >/dev/null 2>&1
	fi
	[ -z "$WIRE" ] || is_local "$side" || lab_offloads off
	[ -z "$WIRE" ] || is_local "$side" || lab_exec_client sh -c "
		echo $(printf %x $((1 << CLIENT_CORE))) >/sys/class/net/$LAB_CLIENT_IF/queues/rx-0/rps_cpus"
	tune
	side_client_ns[$side]=$LAB_CLIENT_NS
	side_server_ns[$side]=$LAB_SERVER_NS
	side_address[$side]=$LAB_SERVER_IP
	side_spec[$side]=$LAB_SPEC
	mkdir -p "$LAB_TMP/$side"
	chmod 755 "$LAB_TMP"
	chmod 777 "$LAB_TMP/$side"
}

# What lab.sh's functions speak of from now on.
side_use()
{
	LAB_SIDE=$1
	LAB_CLIENT_NS=${side_client_ns[$1]}
	LAB_SERVER_NS=${side_server_ns[$1]}
	LAB_SERVER_IP=${side_address[$1]}
	LAB_SPEC=${side_spec[$1]}
	LAB_SERVER_PID=${side_pid[$1]:-}
}

# Where the row's programs run: a core each, both on one, or a core each beside two busy processes on each. To be called
# before the row's server starts.
row_place()
{
	PLACE=${1%"${1#*:}"}
	CLIENT_CORE=1
	[ "$PLACE" != one: ] || CLIENT_CORE=$SERVER_CORE
}

row_pinning()
{
	case $1 in
	one:*) echo "both core $SERVER_CORE" ;;
	busy:*) echo "cores 0, 1; 4 busy" ;;
	*) echo "cores 0, 1" ;;
	esac
}

busy_start()
{
	local core

	[ "$PLACE" = busy: ] || return 0
	for core in 0 1 0 1; do
		taskset -c $core sh -c 'while :; do :; done' &
		busy_pids+=($!)
	done
	lab_pids+=("${busy_pids[@]}")
}

busy_stop()
{
	[ ${#busy_pids[@]} -gt 0 ] || return 0
	kill "${busy_pids[@]}"
	wait "${busy_pids[@]}" 2>/dev/null
	lab_pids=("${lab_pids[@]:0:${#lab_pids[@]}-${#busy_pids[@]}}")
	busy_pids=()
}

# side_start SIDE PORT CMD…: the server, on its core from its first instruction, so that all its threads are too.
side_start()
{
	local side=$1 port=$2 run=()

	shift 2
	side_use "$side"
	! is_fastnet "$side" || run=("$BUILD/tools/fastnet-run" --nic "$LAB_SPEC")
	[ "$side" != fabric ] || run=("$BUILD/tools/fastnet-run")
	# shellcheck disable=SC2016
	FASTNET_LOG=$LAB_TMP/$side/fastnet.log FASTNET_LOG_LEVEL=info \
		lab_start_server sh -c 'log=$1; shift; exec "$@" >"$log" 2>&1' sh "$LAB_TMP/$side/server.log" \
		"${AS[@]}" taskset -c "$SERVER_CORE" "${run[@]}" "$@"
	side_pid[$side]=$LAB_SERVER_PID
	if ! lab_await_port "$port"; then
		echo "$(basename "$0"): $1 does not answer on side $side:" >&2
		tail -n 5 "$LAB_TMP/$side/server.log" "$LAB_TMP/$side/fastnet.log" 2>/dev/null >&2
		return 1
	fi
	side_worker[$side]=$LAB_SERVER_PID
	[ "$1" != nginx ] || side_worker[$side]=$(pgrep -P "$LAB_SERVER_PID" | head -n 1)
}

side_stop()
{
	[ -n "${side_pid[$1]:-}" ] || return 0
	side_use "$1"
	lab_stop_server || :
	side_pid[$1]=
}

# Every thread of the server is where the row says it is.
side_is_pinned()
{
	! grep -h '^Cpus_allowed_list:' "/proc/${side_worker[$1]}/task/"*/status | grep -qvx "Cpus_allowed_list:[[:space:]]$SERVER_CORE"
}

# Bytes that the stack of that side's server has carried so far, both ways, of the row's protocol; of datagrams, which are counted,
# not weighed, 64 each. Empty: fastnet-stat cannot tell.
side_bytes()	# side_bytes SIDE ROW
{
	"$BUILD/tools/fastnet-stat" --json "${side_worker[$1]}" 2>/dev/null | python3 -c '
import json, sys
def find(o, name):
    if isinstance(o, dict):
        if isinstance(o.get(name), int):
            return o[name]
        o = list(o.values())
    if isinstance(o, list):
        for v in o:
            r = find(v, name)
            if r is not None:
                return r
o = json.load(sys.stdin)
if sys.argv[1].startswith("udp-"):
    print(64 * (find(o, "udp_in") + find(o, "udp_out")))
else:
    print(find(o, "tcp_bytes_in") + find(o, "tcp_bytes_out"))' "${2#*:}" 2>/dev/null
}

# Time that the server's threads were ready to run and did not, ns: others had the core.
side_waited()
{
	cat "/proc/${side_worker[$1]}/task/"*/schedstat 2>/dev/null | awk '{ s += $2 } END { printf "%.0f\n", s }'
}

# Until both cores have been idle for a moment, a minute at most: other work on the machine is no round's.
await_quiet()
{
	local end=$((SECONDS + 60)) before now

	before=$(grep -E "^cpu($SERVER_CORE|$CLIENT_CORE) " /proc/stat)
	while [ $SECONDS -lt $end ]; do
		read -r -t 0.2 <> <(:) || :
		now=$(grep -E "^cpu($SERVER_CORE|$CLIENT_CORE) " /proc/stat)
		awk '{ idle = $5 + $6; all = 0; for (i = 2; i <= 9; i++) all += $i }
			NR <= 2 { i0[NR] = idle; a0[NR] = all; next }
			(idle - i0[NR - 2]) < 0.9 * (all - a0[NR - 2]) { busy = 1 }
			END { exit busy }' <<<"$before"$'\n'"$now" && return
		before=$now
	done
}
