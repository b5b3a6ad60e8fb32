#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# An idle established connection takes 1 KiB of the arena at most, in the stack, with what a pool makes at once shared among
# 4,000 of them. The figure repeats exactly.

said=$("${builddir:-.}/bench/stack-core" idle 4000) || { echo "not ok - stack-core: $said"; exit 1; }
bytes=$(echo "$said" | sed -n 's/^idle 4000 connections: \([0-9]*\) bytes of arena each$/\1/p')
# struct fn_tcp alone has more than 512: less would be a figure of something else
if [ "${bytes:-0}" -ge 512 ] && [ "$bytes" -le 1024 ]; then
	echo "ok - $said"
	exit 0
fi
echo "not ok - $said, 1,024 are allowed"
exit 1
