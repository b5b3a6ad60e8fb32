# SPDX-License-Identifier: BSD-3-Clause
# For the tools' tests: counting, a scratch folder that goes away, processes that end. Sourced by sh scripts.

n=0
failed=0
work=$(mktemp -d) || exit 99
pids=
cleanup() {
	for p in $pids; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 99' INT TERM

# check NAME COMMAND...: one test
check() {
	name=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		failed=$((failed + 1))
		sed 's/^/# out: /;40q' "$work/out" 2>/dev/null
		sed 's/^/# err: /;40q' "$work/err" 2>/dev/null
	fi
}

# skip REASON: one test that cannot be done here
skip() {
	n=$((n + 1))
	echo "ok $n # SKIP $1"
}

# run COMMAND...: its output in $work/out and $work/err, its status in $status
run() {
	"$@" >"$work/out" 2>"$work/err"
	status=$?
}

out_has() { grep -qF -- "$1" "$work/out"; }
err_has() { grep -qF -- "$1" "$work/err"; }
quiet() { ! [ -s "$work/err" ]; }

finish() {
	echo "1..$n"
	[ "$failed" = 0 ]
	exit
}
