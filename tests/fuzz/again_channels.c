/* SPDX-License-Identifier: ISC */
/* supervisor/channels.c, and a way to have it as at its start: see again.h. */
#include "supervisor/channels.c"

#include "again.h"

void
end_channels(void)
{
	for (size_t i = 0; i < N_EDGES; i++) {
		drop_kept(&matrix[i], 0);
		drop_kept(&matrix[i], 1);
	}
}
