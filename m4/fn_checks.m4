dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_CHECKS: --enable-checks keeps the invariants (fn_assert) in; benchmarks and packages leave them out.
AC_DEFUN([FN_CHECKS], [
  AC_ARG_ENABLE([checks], [AS_HELP_STRING([--enable-checks], [check invariants at run time (what the tests use)])],
    [], [enable_checks=no])
  AS_IF([test "x$enable_checks" = xyes],
    [AC_DEFINE([FN_CHECKED], [1], [Check invariants at run time])
     FN_CFLAGS="$FN_CFLAGS -DFN_CHECKED=1"])
])
