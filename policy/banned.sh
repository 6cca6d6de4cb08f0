#!/bin/sh
# SPDX-License-Identifier: ISC
# Calls that a sandboxed child must not make: they start threads, open files behind the caller's back
# or change an inherited socket. The filter would kill the child in the middle of its work; this says
# so at `make check`. Then the check itself is tried on a planted file.
top=${srcdir:-.}
banned='uv_queue_work|uv_fs_[a-z]+|uv_getaddrinfo|uv_getnameinfo|uv_random|uv_spawn|uv_listen|uv_accept'
banned="$banned|uv_udp_[a-z_]+|uv_tcp_[a-z_]+|uv_pipe_[a-z_]+|uv_tty_[a-z_]+|uv_exepath|uv_set_process_title"
banned="$banned|uv_interface_addresses|uv_cpu_info|syslog|openlog|localtime|strftime|setlocale|getaddrinfo"
banned="$banned|popen|system|fork|pthread_create|fprintf|printf|fputs|puts|perror|fopen"

# search FOLDER...: prints the lines, exit 0 when there are any
search() { grep -nEH "(^|[^A-Za-z0-9_])($banned)[[:space:]]*\(" "$@" | grep -vE ':[0-9]+:[[:space:]]*(/?\*|//)'; }

bad=0
for process in netd icmpd roled keyd; do
	for file in "$top/$process"/*.c; do
		[ -f "$file" ] || continue
		if search "$file"; then
			bad=1
		fi
	done
done
[ $bad = 0 ] || { echo "banned in a sandboxed child (policy/banned.sh says why)" >&2; exit 1; }

plant=$(mktemp) || exit 1
trap 'rm -f "$plant"' EXIT
printf '\tuv_queue_work(loop, &w, a, b);\n' >"$plant"
search "$plant" >/dev/null || { echo "a planted uv_queue_work was not found" >&2; exit 1; }
printf '/*\n * printf() is not used\n */\n\tmy_printf(x);\n' >"$plant"
search "$plant" && { echo "found what is not there" >&2; exit 1; }
exit 0
