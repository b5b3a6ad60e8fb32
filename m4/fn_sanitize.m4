dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_SANITIZE: --enable-sanitizers builds the stack's units, scripts and simulation with asan and ubsan.
AC_DEFUN([FN_SANITIZE], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers], [build units, packet scripts and simulation with address and undefined-behaviour sanitizers; no libfastnet.so then])],
    [], [enable_sanitizers=no])
  AS_IF([test "x$enable_sanitizers" = xyes],
    [FN_SAN_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
     FN_CFLAGS="$FN_CFLAGS $FN_SAN_FLAGS"
     LDFLAGS="$LDFLAGS $FN_SAN_FLAGS"])
  AM_CONDITIONAL([SANITIZERS], [test "x$enable_sanitizers" = xyes])
])
