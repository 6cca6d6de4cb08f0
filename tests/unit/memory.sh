#!/bin/sh
# SPDX-License-Identifier: ISC
# Few objects ask for memory, and those are known: message queue, event loop, filter, a handle of netd and
# of icmpd, and the parser's own malloc. Role machine, state files, links, protocol and configuration use
# what they were given, so that they cannot find none. A new one is added here and seen by test_late.py.
# usage: tests/unit/memory.sh, in the build folder
known=' lib/channel.o lib/loop.o policy/seccomp.o netd/admit.o icmpd/probe.o parser/memory.o'
bad=
for folder in lib policy netd icmpd roled keyd parser; do
	for object in "$folder"/*.o; do
		[ -f "$object" ] || { echo "no objects in $folder: build it first" >&2; exit 1; }
		nm -u "$object" | grep -qE ' (malloc|calloc|realloc|reallocarray|strdup|strndup|v?asprintf|getline|mmap|posix_memalign|aligned_alloc|__libc_(m|c|re)alloc)$' ||
			continue
		case $known in
		*" $object"*) ;;
		*) bad="$bad $object" ;;
		esac
	done
done
[ -z "$bad" ] && exit 0
echo "asks for memory, and is not known to:$bad" >&2
exit 1
