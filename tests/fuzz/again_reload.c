/* SPDX-License-Identifier: ISC */
/* supervisor/reload.c, and a way to have it as at its start: see again.h. */
#include "supervisor/reload.c"

#include "again.h"

void
again_reload(void)
{
	memset(&transaction, 0, sizeof(transaction));
	transaction.serial = 1;
	memset(&pending, 0, sizeof(pending));
	memset(&requests, 0, sizeof(requests));
	memset(&last, 0, sizeof(last));
	timer_made = later_made = later_waits = 0;
}
