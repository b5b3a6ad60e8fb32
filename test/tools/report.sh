#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What test/all reports of suites that fail, with two of its own choosing: first who failed and why, then the logs, cut, and
# the totals last.

. "${srcdir:-.}/test/tools/lib.sh"
all=${srcdir:-.}/test/all
command -v bash >/dev/null || { skip "no bash"; finish; }
mkdir -p "$work/checked/test/sim" "$work/sanitized/test/sim"
cat >"$work/checked/test/sim/sim" <<'END'
#!/bin/sh
echo 'ok 1 - first'
echo 'not ok 2 - second'
echo '# waited for 3 s'
echo '# FAIL: the client says no'
i=0
while [ $i -lt 100 ]; do echo "# line $i"; i=$((i + 1)); done
awk 'BEGIN { for (i = 0; i < 1000; i++) printf "x"; print "" }'
echo 'not ok 3 - third'
echo '# --- native'
echo '# +++ ours'
echo '# -gave 9'
echo '# +gave 8'
echo 'ok 4 - fourth'
echo '2 passed, 2 failed'
exit 1
END
cat >"$work/sanitized/test/sim/sim" <<'END'
#!/bin/sh
echo 'seed 7: not ended'
exit 3
END
chmod +x "$work"/*/test/sim/sim

run env SUITES='simulation sim-sanitized' bash "$all" "$work"
reports() { [ "$status" = 1 ] && [ "$(tail -n 1 "$work/out")" = "2 passed, 3 failed" ]; }
first() {
	sed 's/ *([0-9]* s)$//; s/  */ /g' "$work/out" | head -n 5 >"$work/head"
	cat >"$work/expected" <<'END'
simulation 2 passed, 2 failed
failed: simulation/second: FAIL: the client says no
failed: simulation/third: +gave 8
sim-sanitized no result, status 3
failed: sim-sanitized/seed 7: not ended
END
	diff "$work/expected" "$work/head"
}
cut_lines() { [ "$(awk '{ if (length > most) most = length } END { print most }' "$work/out")" -le 200 ]; }
cut_logs() { [ "$(grep -c '^# line' "$work/out")" -lt 40 ] && [ "$(grep -c '^--- ' "$work/out")" = 3 ]; }
check "the totals come last" reports
check "who failed, and why, comes first" first
check "long lines are cut" cut_lines
check "long logs are cut" cut_logs
finish
