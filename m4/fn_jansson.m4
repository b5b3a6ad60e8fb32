dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_JANSSON: fastnet-stat --json.
AC_DEFUN([FN_JANSSON], [
  PKG_CHECK_MODULES([JANSSON], [jansson], [],
    [AC_MSG_ERROR([jansson not found (Debian: libjansson-dev)])])
])
