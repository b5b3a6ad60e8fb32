dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_WARNINGS: the flags that every file of ours is built with; --enable-werror makes warnings errors.
AC_DEFUN([FN_WARNINGS], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [treat warnings as errors])],
    [], [enable_werror=no])
  FN_CFLAGS="-std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla"
  FN_CFLAGS="$FN_CFLAGS -Wno-unused-parameter -Wno-address-of-packed-member"
  FN_CFLAGS="$FN_CFLAGS -fvisibility=hidden -fno-strict-aliasing -fno-common -fno-semantic-interposition"
  AS_IF([test "x$enable_werror" = xyes], [FN_CFLAGS="$FN_CFLAGS -Werror"])
  AC_SUBST([FN_CFLAGS])
])
