/* SPDX-License-Identifier: ISC */
/*
 * syncd/feed.c, and back to its start; see again.h.
 */
#include "syncd/feed.c"

#include "again.h"

void
again_feed(void)
{
	for (size_t i = 0; i < CONF_SERVERS; i++)
		drop_copy(&feeds[i]);
	memset(feeds, 0, sizeof(feeds));
	change_free(&scratch);
	change_init(&scratch);
	drain_cookie = leaving_epoch = 0;
	drain_server = leaving_to = NO_SERVER;
}
