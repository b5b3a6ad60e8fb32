# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Network tests that Debian's packages bring along, natively and under the library with nothing routed, side by side: the
# outcomes are equal, test by test. Tornado's (python3-tornado), and in a long run the ones of Go's package net
# (golang-1.19-src), whose programs are dynamic with cgo. Node's, Ruby's, Perl's and Tcl's own are in no binary package;
# CPython's are in test/app/cpython. A test that differs is run once more, as there.
lab_need python3
/usr/bin/python3 -c 'import tornado.test.runtests' 2>/dev/null || lab_skip "python3-tornado is not installed"
lab_make kernel

# outcomes FILE: of unittest's and go's verbose output, "name<tab>outcome"; an unfinished line's outcome is the next line's.
outcomes()
{
	sed -nE 's/^(test[A-Za-z0-9_]* \([^)]*\)).* \.\.\. (.*\.\.\. )?(ok|FAIL|ERROR|skipped).*/\1\t\3/p
		s/^ *--- (PASS|FAIL|SKIP): ([^ ]+) .*/\2\t\1/p' "$1" | sort -u
}
# in_namespace WAY CMD…: in a directory of its own
in_namespace()
{
	local way=$1 ns=$LAB_CLIENT_NS wrap=(env)

	shift
	if [ "$way" = preloaded ]; then
		ns=$LAB_SERVER_NS
		wrap=(env FASTNET_RULES=kernel "$RUN" --nic "dpdk:net_af_packet0,iface=$LAB_SERVER_IF address=10.8.0.2/24")
	fi
	mkdir -p "$LAB_TMP/$way"
	(cd "$LAB_TMP/$way" && TMPDIR=$LAB_TMP/$way exec ip netns exec "$ns" "${wrap[@]}" timeout -k 10 250 "$@")
}
# suite NAME LEAST CMD…
suite()
{
	local name=$1 least=$2 try

	shift 2
	for try in 1 2; do
		in_namespace native "$@" >"$LAB_TMP/$name.native" 2>&1 &
		in_namespace preloaded "$@" >"$LAB_TMP/$name.preloaded" 2>&1 &
		wait %1 %2 2>/dev/null || wait
		outcomes "$LAB_TMP/$name.native" >"$LAB_TMP/native.$try"
		outcomes "$LAB_TMP/$name.preloaded" >"$LAB_TMP/preloaded.$try"
		[ "$(wc -l <"$LAB_TMP/native.$try")" -ge "$least" ] || fail "$name does not run here natively: $(tail -5 "$LAB_TMP/$name.native")"
		diff "$LAB_TMP/native.$try" "$LAB_TMP/preloaded.$try" >"$LAB_TMP/differ.$try" && break
	done
	if [ -s "$LAB_TMP/differ.$try" ]; then
		# those that differ both times, the same way
		comm -12 <(sort "$LAB_TMP/differ.1") <(sort "$LAB_TMP/differ.2") | grep '^[<>]' >"$LAB_TMP/differ" || :
		[ ! -s "$LAB_TMP/differ" ] || fail "$name: $(cat "$LAB_TMP/differ"; tail -5 "$LAB_TMP/$name.preloaded")"
	fi
	echo "$name: $(wc -l <"$LAB_TMP/native.1") tests"
}

tornado=()
for m in iostream_test tcpserver_test tcpclient_test httpserver_test netutil_test process_test simple_httpclient_test \
	websocket_test ioloop_test; do
	tornado+=("tornado.test.$m")
done
suite tornado 200 /usr/bin/python3 -W ignore -m unittest -v "${tornado[@]}"

if [ -n "$LONG" ]; then
	[ -d /usr/share/go-1.19/src/net ] || lab_skip "golang-1.19-src is not installed: no Go, Tornado's are equal"
	lab_need /usr/lib/go-1.19/bin/go gcc
	(cd /usr/share/go-1.19/src/net && HOME=$LAB_TMP GOFLAGS=-mod=mod CGO_ENABLED=1 /usr/lib/go-1.19/bin/go test -c -o "$LAB_TMP/net.test" .) ||
		fail "go test -c net"
	suite go-net 100 sh -c "cd /usr/share/go-1.19/src/net && exec $LAB_TMP/net.test -test.v -test.short"
fi
