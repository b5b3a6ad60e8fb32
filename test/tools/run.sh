#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# fastnet-run: finds the library, checks the configuration first, warns about what cannot be accelerated, and then is the
# program: its status, its signals, its PID. The library of these tests is an empty one.
# Environment: RUN is the tool, CC a compiler, bindir and libdir what configure was told.

. "${srcdir:-.}/test/tools/lib.sh"
: "${RUN:=tools/fastnet-run}" "${CC:=cc}" "${bindir:=/usr/local/bin}" "${libdir:=/usr/local/lib}"
unset FASTNET_NIC FASTNET_CONF FASTNET_LOG FASTNET_LOG_LEVEL FASTNET_RULES LD_PRELOAD

# A build tree of our own, so that the library is found where a build has it.
mkdir -p "$work/tree/tools" "$work/tree/.libs" "$work/bin"
cp "$RUN" "$work/tree/tools/fastnet-run" || exit 99
echo 'int fn_empty;' >"$work/empty.c"
$CC -shared -fPIC -o "$work/tree/.libs/libfastnet.so" "$work/empty.c" || exit 99
tool=$work/tree/tools/fastnet-run
lib=$(realpath "$work/tree/.libs/libfastnet.so")
nic='dpdk:net_null0 address=10.9.0.2/24'
# no configuration of this machine
FASTNET_CONF=/dev/null
export FASTNET_CONF

# ---- the program ----
run "$tool" sh -c 'echo $LD_PRELOAD'
check "preloads the library of its build tree" out_has "$lib"
check "says nothing" quiet

# a build with sanitizers wants to be first; here it need not
ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD=$lib run "$tool" sh -c 'echo $LD_PRELOAD'
check "keeps what is preloaded already" out_has "$lib:$lib"

run "$tool" sh -c 'exit 42'
check "passes the exit status" [ $status = 42 ]

run "$tool" sh -c 'kill -TERM $$'
check "a signal ends it as it ends the program" [ $status = 143 ]

sh -c 'echo $$; exec "$0" sh -c "echo \$\$"' "$tool" >"$work/out" 2>"$work/err"
check "is the program: the same PID" [ "$(uniq -c "$work/out" | sed 's/^ *\([0-9]*\) .*/\1/')" = 2 ]

run "$tool" sh -c 'echo "$0" "$@"' --nic -x 'a b'
check "leaves the program's options alone" out_has '--nic -x a b'

run "$tool" "$work/nothing-here"
check "a program that is not there: 127" [ $status = 127 ]
run "$tool" "$work"
check "a program that is none: 126" [ $status = 126 ]
run "$tool"
check "no program: 125" [ $status = 125 ]
run "$tool" --colour true
check "a wrong option: 125" [ $status = 125 ]

# ---- options ----
run "$tool" --nic "$nic" --nic 'dpdk:net_null1 address=10.8.0.2/24' sh -c 'echo "$FASTNET_NIC"'
check "--nic may be repeated" out_has "$nic;dpdk:net_null1 address=10.8.0.2/24"
run "$tool" --log debug sh -c 'echo $FASTNET_LOG $FASTNET_LOG_LEVEL'
check "--log logs to standard error" out_has 'stderr debug'
FASTNET_LOG=syslog run "$tool" --log debug sh -c 'echo $FASTNET_LOG $FASTNET_LOG_LEVEL'
check "--log leaves FASTNET_LOG alone" out_has 'syslog debug'
echo '[fastnet]' >"$work/f.conf"
run "$tool" --conf "$work/f.conf" sh -c 'echo $FASTNET_CONF'
check "--conf" out_has "$work/f.conf"
run "$tool" --help
check "--help" out_has 'Usage: fastnet-run'
run "$tool" --version
check "--version" out_has 'fastnet-run (fastnet) '

# ---- the configuration is checked first ----
run "$tool" --nic 'dpdk:net_null0 address=10.9.0.2' touch "$work/started"
check "a wrong port is an error" [ $status = 125 ]
check "which tells where and what was expected" err_has 'FASTNET_NIC, part 1, character 24: address: expected'
check "and the program is not started" [ ! -e "$work/started" ]
printf '[fastnet]\nspin_us = soon\n' >"$work/f.conf"
run "$tool" --conf "$work/f.conf" true
check "a wrong file names its line" err_has 'f.conf:2: [fastnet] spin_us: expected'
run "$tool" --conf "$work/none.conf" true
check "a file that is not there" err_has 'none.conf: No such file or directory'
run "$tool" --nic "$nic gateway=10.9.0.1" --check
check "--check: a good configuration" [ $status = 0 ]
check "--check tells the ports" out_has 'port: net_null0: dpdk:net_null0 address 10.9.0.2/24 gateway 10.9.0.1'
check "--check tells the library" out_has "library: $lib"
check "--check tells what the fabric has beside a port" out_has "fabric: on: TCP between processes"
run "$tool" --check
check "and without one" out_has "fabric: on: TCP and UDP between processes"
FASTNET_FABRIC=off run "$tool" --check
check "and that nothing is accelerated" out_has "port: none: every socket will be the kernel's"
run "$tool" --nic "$nic queues=17" --check
check "--check: more queues than are served" err_has 'queues: expected a number from 1 to 16'
FASTNET_SPIN=1 run "$tool" true
check "a variable with a misspelt name is told" err_has 'FASTNET_SPIN: no such setting; ignored'
check "but no error" [ $status = 0 ]
run "$tool" --nic x --check
check "--check: a wrong one" [ $status = 1 ]

# ---- what cannot be accelerated ----
echo 'int main(void) { return 7; }' >"$work/p.c"
if $CC -static -o "$work/bin/static" "$work/p.c" 2>/dev/null; then
	run "$tool" "$work/bin/static"
	check "warns about a static program" err_has 'static is statically linked'
	check "and runs it" [ $status = 7 ]
	printf '#!%s\n' "$work/bin/static" >"$work/bin/script"
	chmod +x "$work/bin/script"
	run "$tool" "$work/bin/script"
	check "warns about a script's interpreter" err_has 'static is statically linked'
	printf '#!/usr/bin/env -S A=1 static\n' >"$work/bin/script"
	PATH=$work/bin:$PATH run "$tool" script
	check "and looks through env" err_has 'static is statically linked'
else
	skip "no static libc"
fi
if [ "$(id -u)" = 0 ]; then
	# at the place where everyone may run it
	cp /bin/true "$work/bin/suid"
	chown 65534 "$work/bin/suid"
	chmod 4755 "$work/bin/suid"
	run "$tool" "$work/bin/suid"
	check "warns about a set-uid program" err_has 'suid is set-uid or set-gid'
else
	skip "not root: no set-uid program can be made"
fi

# 20 bytes, little endian: revision 2 with the effective bit, and CAP_NET_BIND_SERVICE permitted (linux/capability.h)
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && command -v python3 >/dev/null && cp /bin/true "$work/bin/caps" &&
	python3 -c 'import os, struct, sys; os.setxattr(sys.argv[1], "security.capability", struct.pack("<5I", 0x02000001, 0x400, 0, 0, 0))' \
		"$work/bin/caps" 2>/dev/null; then
	chmod 755 "$work" "$work/bin" "$work/bin/caps" "$work/tree" "$work/tree/tools" "$work/tree/.libs" "$tool" "$lib"
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$tool" "$work/bin/caps"
	check "warns about file capabilities" err_has 'caps has file capabilities'
	run "$tool" "$work/bin/caps"
	check "which are nothing to root" quiet
else
	skip "no file with capabilities can be made, or nobody else to be"
fi
# the same linker by another name is another libc's
interp=$(od -An -c "$(command -v sh)" | tr -d ' \n' | grep -o '/lib[0-9]*/ld-linux-x86-64\.so\.2' | head -n 1)
if [ -e "$interp" ] && ln -s "$interp" "$work/bin/ld-musl-x86_64.so.1" &&
	$CC -Wl,--dynamic-linker="$work/bin/ld-musl-x86_64.so.1" -o "$work/bin/musl" "$work/p.c" 2>/dev/null; then
	run "$tool" "$work/bin/musl"
	check "warns about another libc" err_has "musl runs on $work/bin/ld-musl-x86_64.so.1, not on glibc"
	check "and runs it" [ $status = 7 ]
else
	skip "no program with another linker can be made"
fi
# e_machine is the bytes 18 and 19; 183 is AArch64's
$CC -o "$work/bin/arm" "$work/p.c" && printf '\267\0' | dd of="$work/bin/arm" bs=1 seek=18 conv=notrunc 2>/dev/null
# execvp() gives what the kernel does not know to a shell, which may find a ">" in it: not in the build directory
run env -C "$work" "$tool" "$work/bin/arm"
check "warns about another architecture" err_has 'arm is not an x86-64 program'

# ---- where the library is ----
mkdir -p "$work/moved"
cp "$tool" "$work/moved/fastnet-run"
run "$work/moved/fastnet-run" --check
check "does not take a library from anywhere" [ "$(grep -c "library: $work" "$work/out")" = 0 ]
root=$work/root
mkdir -p "$root$bindir" "$root$libdir"
cp "$tool" "$root$bindir/fastnet-run"
cp "$lib" "$root$libdir/libfastnet.so"
run "$root$bindir/fastnet-run" --check
check "finds the library beside itself, wherever the two were moved" out_has "library: $(realpath "$root$libdir")/libfastnet.so"
mkdir -p "$work/a b/tools" "$work/a b/.libs"
cp "$tool" "$work/a b/tools/fastnet-run"
cp "$lib" "$work/a b/.libs/libfastnet.so"
run "$work/a b/tools/fastnet-run" true
check "refuses a path that cannot be preloaded" err_has 'blank or colon in its path'

finish
