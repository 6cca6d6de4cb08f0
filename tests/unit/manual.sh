#!/bin/sh
# SPDX-License-Identifier: ISC
# The option lists of bulkhead.conf(5) are those of the option table, and the manuals pass mandoc's lint.
# After a change of lib/conf_options.def: make update-manual
top=${srcdir:-.}
page=$top/doc/man/bulkhead.conf.5
fail=0

sed -n '/^\.\\" options from conf_options.def/,/^\.\\" end of options/p' "$page" | sed '1d;$d' |
diff -u - "${BULKHEAD_CONF_DOC:-lib/conf_doc.out}" || {
	echo "$page: differs from lib/conf_options.def; run make update-manual" >&2
	fail=1
}
if command -v mandoc >/dev/null; then
	for page in "$top"/doc/man/*.[58]; do
		# what is not installed here cannot be looked up
		mandoc -T lint -W warning "$page" | grep -v 'no such manual' && fail=1
	done
else
	echo "mandoc is not installed: the manuals are not linted" >&2
fi
exit $fail
