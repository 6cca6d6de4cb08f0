#!/bin/sh
# SPDX-License-Identifier: ISC
# The role machine is pure: its objects call themselves, memory and string functions, and what the
# compiler adds; no clock, no allocation, no input or output.
# usage: tests/unit/pure.sh, in the build folder
lib=libmachine.a
[ -f $lib ] || { echo "no $lib here: build it first" >&2; exit 1; }
defined=$(nm --defined-only $lib | awk 'NF == 3 { print $3 }')
others=$(nm -u $lib | awk 'NF == 2 { print $2 }' | sort -u | grep -vxF "$defined" |
	grep -vE '^(mem(cpy|set|move|cmp)|str(cmp|len)|__(mem|str)[a-z]*_chk|__(add|sub|mul|neg)v[sdt]i[23]|__stack_chk_(fail|guard)|__(asan|ubsan|sanitizer)_.*|_GLOBAL_OFFSET_TABLE_)$')
[ -z "$others" ] && exit 0
echo "the role machine calls:" $others >&2
exit 1
