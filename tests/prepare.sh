# SPDX-License-Identifier: ISC
# Sourced by quickstart and runtests (with $top set): packages and builds.

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Install what is missing of the kinds given (build, run, test). Nothing is asked of apt, and no
# network is needed, when all of it is there. On other systems the tools must be there already.
install_packages() {
	missing=
	command -v dpkg-query >/dev/null 2>&1 || { say "not a Debian system: expecting the packages of tests/packages"; return 0; }
	for kind; do
		for package in $(sed -n "s/^$kind[[:space:]]\{1,\}\([^[:space:]]*\).*/\1/p" "$top/tests/packages"); do
			state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
			[ "$state" = installed ] || missing="$missing $package"
		done
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] || die "must be root to install:$missing"
	say "installing$missing"
	apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
	apt_get install -y --no-install-recommends $missing >/dev/null 2>&1 && return 0
	# Lists may be absent or old: fetch them and try again, this time with the messages.
	apt_get update || die "apt-get update failed"
	apt_get install -y --no-install-recommends $missing >/dev/null || die "cannot install:$missing"
}

# The published test vectors of the handshake: one file of Debian's golang-github-flynn-noise-dev, taken
# out of the package because installing it would bring a dozen others. Without it one test is skipped.
fetch_noise_vectors() {
	NOISE_VECTORS=$top/build/vectors/usr/share/gocode/src/github.com/flynn/noise/vectors.txt
	export NOISE_VECTORS
	[ ! -f "$NOISE_VECTORS" ] || return 0
	command -v apt-get >/dev/null 2>&1 || return 0
	mkdir -p "$top/build/vectors"
	(cd "$top/build/vectors" && apt-get -qq download golang-github-flynn-noise-dev &&
		dpkg-deb -x golang-github-flynn-noise-dev_*.deb . && rm -f ./*.deb) >/dev/null 2>&1 </dev/null ||
		say "no test vectors of the handshake: golang-github-flynn-noise-dev cannot be fetched"
}

jobs_of_machine() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

# Configure (once per set of arguments) and build out of tree: build_in DIRECTORY [configure arguments]
build_in() {
	directory=$1
	shift
	if [ ! -x "$top/configure" ] || [ "$top/configure.ac" -nt "$top/configure" ] ||
	    [ "$top/Makefile.am" -nt "$top/Makefile.in" ]; then
		(cd "$top" && autoreconf -fi) >"$top/autoreconf.log" 2>&1 || { cat "$top/autoreconf.log" >&2; return 1; }
	fi
	mkdir -p "$directory"
	if [ ! -f "$directory/Makefile" ] || [ "$(cat "$directory/arguments" 2>/dev/null)" != "$*" ]; then
		(cd "$directory" && "$top/configure" --without-users "$@") >"$directory/configure.log" 2>&1 ||
			{ tail -n 30 "$directory/configure.log" >&2; return 1; }
		echo "$*" >"$directory/arguments"
	fi
	make -s -C "$directory" -j"$(jobs_of_machine)" all >"$directory/make.log" 2>&1 ||
		{ tail -n 40 "$directory/make.log" >&2; return 1; }
}
