/* SPDX-License-Identifier: ISC */
/* supervisor/sockets.c, and a way to have it as at its start: see again.h. */
#include "supervisor/sockets.c"

#include "again.h"

void
again_sockets(void)
{
	for (int i = 0; i < LISTENERS; i++)
		current[i] = prepared[i] = (struct listener){.fd = -1};
	memset(targets, 0, sizeof(targets));
	memset(dial_bucket, 0, sizeof(dial_bucket));
	memset(&dial_complaint, 0, sizeof(dial_complaint));
	memset(&target_complaint, 0, sizeof(target_complaint));
	dials = dials_refused = 0;
}
