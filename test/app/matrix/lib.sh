# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the rows of the matrix are written in; sourced by test/app/matrix/run after BUILD, TOP, MODE and OUT are set.
#
#	row NAME TITLE TOOL…	a row: its function has its name, and is skipped visibly when a tool is missing
#	serve CMD…		start a server here, the way of the row; the framework ends it with SIGTERM, or `stop SIGNAL`
#	fast CMD…		run a client here, the way of the row
#	peer CMD…		run a command on the other side: the kernel's, but for `fabric`
#	peer_serve CMD…		start a server there
#	known ROW MODE REASON	the row is red in that mode, and why
#	on_kernel REASON	the row is right, though nothing of it is accelerated on a port
#
# Here is $HERE, there is $THERE, whose clients a server sees come from $FROM. The ways: native; nothing (preloaded, and a rule leaves everything to the kernel); port
# (preloaded, with a DPDK port that has $HERE); fabric (both sides preloaded, in one namespace that has both addresses).

# shellcheck source=test/app/lib.sh
. "$TOP/test/app/lib.sh"
HERE=$LAB_SERVER_IP
# shellcheck disable=SC2034	# rows use them
THERE=$LAB_CLIENT_IP FROM=$LAB_CLIENT_IP
WRAP=()
PEER_WRAP=()
servers=()
peers=()
row_names=()
declare -A row_title row_tools row_long row_known
row_kernel=

fail()
{
	local log

	echo "FAIL: $*"
	for log in server peer fastnet; do
		[ ! -s "$LAB_TMP/$log.log" ] || { echo "--- $log.log"; tail -n 12 "$LAB_TMP/$log.log"; }
	done
	exit 1
}

row()
{
	row_names+=("$1")
	row_title[$1]=$2
	row_long[$1]=$slow
	row_tools[$1]=${*:3}
	slow=
}

# slow: the next row belongs to the long run only.
slow=
slow()
{
	slow=1
}

known()
{
	row_known[$1:$2]=$3
}

on_kernel()
{
	row_kernel=$1
}

matrix_lab()
{
	case $MODE in
	port)
		lab_make af_packet
		lab_offloads off
		WRAP=("$RUN" --nic "$LAB_SPEC")
		;;
	fabric)
		fabric_make
		ip -n "$LAB_SERVER_NS" addr add "$HERE/32" dev lo
		ip -n "$LAB_SERVER_NS" addr add "$THERE/32" dev lo
		WRAP=("$RUN")
		PEER_WRAP=("$RUN")
		FROM=$HERE
		;;
	*)
		lab_make kernel
		;;
	esac
	if [ "$MODE" = nothing ]; then
		export FASTNET_RULES=kernel
		WRAP=("$RUN" --nic "dpdk:net_af_packet0,iface=$LAB_SERVER_IF address=10.8.0.2/24")
	fi
	chmod 1777 "$LAB_TMP"
	: >"$LAB_TMP/fastnet.log"
	chmod 666 "$LAB_TMP/fastnet.log"
	export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info TMPDIR=$LAB_TMP HOME=$LAB_TMP
	cd "$LAB_TMP" || exit 1
}

# The port's address shown to programs that ask the kernel for its interfaces, as README tells: on the interface behind the
# port, and the kernel deaf to what comes for it over the wire. Natively it is there anyway.
shown()
{
	[ "$MODE" = port ] || return 0
	ip -n "$LAB_SERVER_NS" rule add pref 1 lookup local
	ip -n "$LAB_SERVER_NS" rule del pref 0
	ip -n "$LAB_SERVER_NS" rule add pref 0 iif "$LAB_SERVER_IF" to "$HERE" blackhole
	ip -n "$LAB_SERVER_NS" addr add "$HERE/32" dev "$LAB_SERVER_IF"
}

serve()
{
	lab_start_server setsid "${WRAP[@]}" "$@"	# Apache signals its process group
	servers+=("$LAB_SERVER_PID")
}

fast()
{
	timeout -k 5 60 ip netns exec "$LAB_SERVER_NS" "${WRAP[@]}" "$@"
}

peer()
{
	timeout -k 5 60 ip netns exec "$LAB_CLIENT_NS" "${PEER_WRAP[@]}" "$@"
}

# Its standard input is the row's: a server that reads it wants </dev/null or a pipe that stays open.
peer_serve()
{
	ip netns exec "$LAB_CLIENT_NS" "${PEER_WRAP[@]}" "$@" >>"$LAB_TMP/peer.log" 2>&1 &
	PEER_PID=$!
	lab_pids+=("$PEER_PID")
	peers+=("$PEER_PID")
}

# as USER CMD…: for serve and fast. A server that never was root is given what opening a port needs.
as()
{
	local user=$1 caps=+net_raw,+net_admin

	shift
	AS=(setpriv --reuid "$user" --regid "$(id -gn "$user")" --init-groups --inh-caps "$caps" --ambient-caps "$caps")
	"$1" "${AS[@]}" "${@:2}"
}

# until_answer CMD…: the server has come up, or the row has failed.
until_answer()
{
	await "$@" || fail "no answer: $*: $("$@" 2>&1 | tail -n 3)"
}

# listening NS PORT [udp]: somebody listens there.
listening()
{
	local kind=-Hltn

	[ "${3:-}" != udp ] || kind=-Hlun
	[ -n "$(ip netns exec "$1" ss $kind "sport = :$2")" ]
}

peer_ready()
{
	await listening "$LAB_CLIENT_NS" "$@" || fail "the peer's server does not start: $(tail -n 5 "$LAB_TMP/peer.log")"
}

ready()
{
	await listening "$LAB_SERVER_NS" "$@" || fail "the server does not listen"
}

# same A B WHAT: the two files are equal.
same()
{
	cmp -s "$1" "$2" || fail "$3 damaged: $(cmp "$1" "$2" 2>&1)"
}

random_file()
{
	head -c "$2" /dev/urandom >"$LAB_TMP/$1"
	chmod 644 "$LAB_TMP/$1"
}

# stop [SIGNAL]: every server of the row, which has to end by itself.
stop()
{
	local pid

	for pid in "${servers[@]}"; do
		kill "-${1:-TERM}" "$pid" 2>/dev/null
	done
	for pid in "${servers[@]}"; do
		lab_await_exit "$pid" 10 || fail "PID $pid ($(tr '\0' ' ' <"/proc/$pid/cmdline")) does not end on ${1:-TERM}"
	done
	servers=()
}

# relays: there are processes that stand between a program and its connections, which became the kernel's.
relays()
{
	local pid

	for pid in $(ip netns pids "$LAB_SERVER_NS"); do
		! grep -qsx fastnet-relay "/proc/$pid/comm" || return 0
	done
	return 1
}

# What the library has to say of the processes that live now; those that have ended told the log.
look()
{
	local pids

	pids=$(ip netns pids "$LAB_SERVER_NS")
	# shellcheck disable=SC2086
	[ -z "$pids" ] || "$STAT" --json $pids >>"$LAB_TMP/stat.json" 2>/dev/null
}

nobody_left()
{
	[ -z "$(ip netns pids "$LAB_SERVER_NS")" ]
}

left()
{
	local pid

	for pid in $(ip netns pids "$LAB_SERVER_NS"); do
		echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
	done
}

matrix_row()
{
	local pid

	matrix_lab
	# A function hides the program of its name from the row.
	eval "row_function() $(declare -f "$1" | tail -n +2)"
	unset -f "$1"
	row_function
	if [ "$MODE" != native ]; then
		look
		stop
		# where both sides are in one namespace, the other one's servers end too
		[ "$MODE" != fabric ] || [ ${#peers[@]} = 0 ] || kill "${peers[@]}" 2>/dev/null
		await nobody_left || fail "still there: $(left)"
		! grep -E ' error: ' "$LAB_TMP/fastnet.log" || fail "errors in the log"
		python3 "$TOP/test/app/matrix/account.py" "$LAB_TMP" "$TOP/shim/reason.def" >"$OUT.account" || fail "no account"
		[ "$MODE" = nothing ] || [ -n "$row_kernel" ] || grep -q '^stack' "$OUT.account" ||
			fail "nothing was accelerated: $(paste -sd' ' "$OUT.account")"
		[ -s "$OUT.account" ] || fail "the library was not there"
	fi
	# Daemons and their children are in the namespaces, and nobody else is.
	for pid in $(ip netns pids "$LAB_SERVER_NS") $(ip netns pids "$LAB_CLIENT_NS"); do
		kill -9 "$pid" 2>/dev/null
	done
	[ -z "$row_kernel" ] || echo "why $row_kernel" >>"$OUT.account"
}
