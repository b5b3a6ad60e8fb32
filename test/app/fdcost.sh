# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the library costs those who do not need it: malloc, stdio, an uncontended mutex, and read, write, epoll_wait and
# others on kernel descriptors 5 ns a call at most; poll, which looks at a list, 10; a set made under the library (epoll_set,
# epoll_ever, epoll_time), which may get accelerated members at any time, 30 (README, Limits). Of each the best of three, and
# in the long run only: these are differences of a hundredth of what is measured, and somebody else's work moves them.
lab_need awk
[ -n "$LONG" ] || lab_skip "costs of single nanoseconds are looked at in the long run only"
[ -x "$BUILD/bench/fdcost" ] || lab_skip "bench/fdcost is not built"
table=$(mktemp)
trap 'rm -f "$table"' EXIT
for _ in 1 2 3; do
	LD_PRELOAD=$BUILD/.libs/libfastnet.so "$BUILD/bench/fdcost" 200 >>"$table" || fail "fdcost: $?"
done
awk '
	$1 == "call" { tables++ }
	NF == 3 && $1 != "call" {
		key = (tables % 2 ? "without" : "with") " a socket: " $1
		limit[key] = $1 ~ /^epoll_(set|ever|time)$/ ? 30 : $1 == "poll" ? 10 : 5
		if (!(key in best) || $3 < best[key])
			best[key] = $3
		rows++
	}
	END {
		for (key in best)
			if (best[key] > limit[key]) {
				print "dear, " key ": " best[key] " ns"
				dear = 1
			}
		if (tables != 6 || rows != 78)
			print "not a table of three turns: " tables ", " rows
		exit dear || tables != 6 || rows != 78
	}' "$table" || fail "$(cat "$table")"
