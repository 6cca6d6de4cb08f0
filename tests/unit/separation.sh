#!/bin/sh
# SPDX-License-Identifier: ISC
# Privilege separation at link time: a program is made of the objects of its own folder plus lib/ and
# policy/. Nothing of supervisor/ is in a child, and no child links another's folder.
#
# Two looks, because each can be fooled alone: at the object lists that automake made, and at the
# symbols of the programs themselves.
# usage: separation.sh   (in the build directory, after make)
set -eu
failed=0
complain() { echo "separation: $*" >&2; failed=1; }

# Value of a make variable of the generated Makefile, continuation lines joined.
variable() {
	awk -v name="$1" '
		$1 == name && $2 == "=" { on = 1; $1 = ""; $2 = "" }
		on { line = $0; more = sub(/\\$/, "", line); printf "%s ", line; if (!more) exit }
	' Makefile
}

# objects NAME FOLDER: every object of a program or library comes from that folder.
objects() {
	list=$(variable "am_$1_OBJECTS")
	[ -n "$list" ] || { complain "no object list of $1 in the Makefile"; return 0; }
	for object in $list; do
		case $object in
		\$\(am__objects_*) part=${object#??}; list="$list $(variable "${part%?}")" ;;
		esac
	done
	for object in $list; do
		case $object in
		"$2"/*.\$\(OBJEXT\) | "") ;;
		\$\(am__objects_*) ;; # a conditional part, looked at below
		*) complain "$1 is made of $object, which is not of $2/" ;;
		esac
	done
}

# libraries NAME FOLDER: no archive but the common two and those made of its own folder.
libraries() {
	for library in $(variable "$1_LDADD"); do
		case $library in
		*libbulkhead.a | *libpolicy.a | \$\(BH_LIBS\) | \$\([A-Z]*_LIBS\)) ;;
		lib*.a) objects "${library%.a}_a" "$2" ;;
		*) complain "$1 links $library" ;;
		esac
	done
}

# Names of the global functions that some object files define.
defined() { nm -g --defined-only "$@" 2>/dev/null | awk '$2 == "T" && $3 != "main" { print $3 }' | sort -u; }

objects libbulkhead_a lib
objects libpolicy_a policy
for program in libexec/*; do
	[ -f "$program" ] || continue
	name=${program#libexec/}
	home=$name
	[ "$name" != drill ] || home=tests/breach # no child: what bulkheadctl drill runs
	objects "libexec_$name" "$home"
	libraries "libexec_$name" "$home"
	# what its own folder and the two libraries define is rightly there
	defined "$home"/*.o libbulkhead.a libpolicy.a >separation.own.tmp
	for folder in supervisor netd icmpd roled keyd parser ctl; do
		[ "$folder" != "$name" ] && [ -d "$folder" ] || continue
		for object in "$folder"/*.o; do
			[ -f "$object" ] && defined "$object"
		done | sort -u | comm -23 - separation.own.tmp >separation.other.tmp
		shared=$(defined "$program" | comm -12 - separation.other.tmp | head -3 | tr '\n' ' ')
		[ -z "$shared" ] || complain "$name has functions of $folder/: $shared"
	done
done
objects sbin_bulkhead supervisor
libraries sbin_bulkhead supervisor
rm -f separation.own.tmp separation.other.tmp
exit $failed
