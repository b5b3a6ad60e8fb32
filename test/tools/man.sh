#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The manual pages are clean mdoc, and every setting has its entry.

. "${srcdir:-.}/test/tools/lib.sh"
src=${srcdir:-.}
page=man/fastnet.conf.5

if command -v mandoc >/dev/null; then
	for f in "$src"/man/*.[17] "$page"; do
		mandoc -Tlint "$f" 2>&1 | grep -v 'referenced manual not found\|outdated mandoc.db' >"$work/out"
		check "mandoc -Tlint ${f##*/}" [ ! -s "$work/out" ]
	done
else
	skip "no mandoc"
fi

for key in $(sed -n 's/^FN_CONF\(_ENV\)\?([A-Z]*, \([a-z0-9_]*\),.*/\2/p' "$src/shim/conf.def"); do
	var=FASTNET_$(echo "$key" | tr a-z A-Z)
	check "$var is in the manual page" grep -q "Ev $var\$" "$page"
done

finish
