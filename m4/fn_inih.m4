dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_INIH: the syntax of fastnet.conf. Linked statically, for libfastnet.so may need libc alone; the archive must be PIC.
AC_DEFUN([FN_INIH], [
  AC_CHECK_HEADER([ini.h], [], [AC_MSG_ERROR([inih not found (Debian: libinih-dev)])])
  AC_MSG_CHECKING([for a static inih that fits into a shared object])
  fn_save_LIBS=$LIBS
  fn_save_LDFLAGS=$LDFLAGS
  INIH_LIBS=-l:libinih.a
  LIBS="$INIH_LIBS $LIBS"
  LDFLAGS="$LDFLAGS -shared -fPIC -Wl,-z,defs"
  AC_LINK_IFELSE([AC_LANG_SOURCE([[#include <ini.h>
    int f(ini_reader r, ini_handler h); int f(ini_reader r, ini_handler h) { return ini_parse_stream(r, 0, h, 0); }]])],
    [AC_MSG_RESULT([$INIH_LIBS])],
    [AC_MSG_RESULT([no]); AC_MSG_ERROR([no position-independent libinih.a (Debian: libinih-dev)])])
  LIBS=$fn_save_LIBS
  LDFLAGS=$fn_save_LDFLAGS
  AC_SUBST([INIH_LIBS])
])
