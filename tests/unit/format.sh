#!/bin/sh
# SPDX-License-Identifier: ISC
# The tree is as clang-format leaves it; .clang-format says how, tables that are made by hand are between
# comments that switch it off. Each version formats a little differently: only that of Debian 12 is asked.
# Then the check itself is tried on a planted line. To put a tree right: tests/unit/format.sh -i
# usage: tests/unit/format.sh [-i], at the top of the tree; exit 77: not tried
wanted=14
case $(clang-format --version 2>/dev/null) in
*" version $wanted."*) ;;
*) echo "not tried: clang-format $wanted is not installed (Debian 12: clang-format)"; exit 77 ;;
esac
cd "${srcdir:-.}" || exit 1
mode=-n
[ "${1-}" != -i ] || mode=-i
# what the build makes is as it is
set -- $(ls -- */*.[ch] tests/*/*.[ch] | grep -v -e '/config\.h$' -e '^tests/sim/mutated\.c$')
clang-format $mode -Werror "$@" || {
	echo "not as .clang-format says; clang-format 14 can put it right: tests/unit/format.sh -i" >&2
	exit 1
}
printf 'int  x;\n' | clang-format -n -Werror 2>/dev/null &&
	{ echo "a planted line was not found" >&2; exit 1; }
exit 0
