# SPDX-License-Identifier: ISC
# Plant the bugs of mutants.txt into the sources of the role machine: the old text becomes
# (machine_mutant == N ? (new) : (old)), or the text of a "=" line with MUTANT for the condition. Old
# text must be there exactly once, so that the list cannot rot. usage: awk -f plant.awk mutants.txt roled/machine.c ... > mutated.c
FNR == 1 {
	file = FILENAME
	sub(/.*\//, "", file)
	first = NR == 1
	if (first)
		listing = 1
	else if (listing) {
		listing = 0
		printf "/* generated from mutants.txt */\nextern int machine_mutant;\n"
		printf "extern const char *const mutant_names[];\n"
		printf "const char *const mutant_names[] = {\"none\""
		for (i = 1; i <= n; i++)
			printf ", \"%s\"", name[i]
		printf ", 0};\nint machine_mutant;\n"
	}
}
listing {
	if ($1 == "mutant")
		name[++n] = $2
	else if ($1 == "file")
		where[n] = $2
	else if (substr($0, 1, 2) == "- ")
		old[n] = substr($0, 3)
	else if (substr($0, 1, 2) == "+ ")
		new[n] = "(machine_mutant == " n " ? (" substr($0, 3) ") : (" old[n] "))"
	else if (substr($0, 1, 2) == "= ") {
		new[n] = substr($0, 3)
		sub(/MUTANT/, "(machine_mutant == " n ")", new[n])
	}
	next
}
{
	line = $0
	for (i = 1; i <= n; i++) {
		if (where[i] != file)
			continue
		at = index(line, old[i])
		if (at == 0)
			continue
		found[i]++
		line = substr(line, 1, at - 1) new[i] substr(line, at + length(old[i]))
	}
	print line
}
END {
	for (i = 1; i <= n; i++)
		if (found[i] != 1) {
			printf "mutants.txt: \"%s\" is %d times in %s, not once\n", \
			    old[i], found[i], where[i] > "/dev/stderr"
			bad = 1
		}
	exit bad
}
