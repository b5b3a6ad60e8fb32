dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_FUZZ: fuzz targets are built by clang with libFuzzer (--enable-fuzz, CC=clang).
AC_DEFUN([FN_FUZZ], [
  AC_ARG_ENABLE([fuzz], [AS_HELP_STRING([--enable-fuzz], [build the fuzz targets (needs CC=clang)])],
    [], [enable_fuzz=no])
  AS_IF([test "x$enable_fuzz" = xyes],
    [fn_save_CFLAGS=$CFLAGS
     CFLAGS="$CFLAGS -fsanitize=fuzzer-no-link"
     AC_MSG_CHECKING([whether $CC has libFuzzer])
     AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])],
       [AC_MSG_RESULT([no]); AC_MSG_ERROR([--enable-fuzz needs clang and its runtime (Debian: clang libclang-rt-14-dev)])])
     CFLAGS=$fn_save_CFLAGS
     FN_CFLAGS="$FN_CFLAGS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
     LDFLAGS="$LDFLAGS -fsanitize=address,undefined"])
  AM_CONDITIONAL([FUZZ], [test "x$enable_fuzz" = xyes])
])
