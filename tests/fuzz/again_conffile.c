/* SPDX-License-Identifier: ISC */
/* supervisor/conffile.c, and a way to have it as at its start: see again.h. */
#include "supervisor/conffile.c"

#include "again.h"

void
end_conffile(void)
{
	if (job != NULL)
		finish();
}

void
again_conffile(void)
{
	generation = 0;
	errors_logged = 0;
	now_conf = NULL;
	now_result = 0;
}
