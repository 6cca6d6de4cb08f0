/* SPDX-License-Identifier: ISC */
/*
 * The loop of a target, at the end of an input; table.h. A file of its own for those without a
 * loop.
 */
#include "table.h"

#include <stdlib.h>
#include <uv.h>

static void
close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void
table_close_loop(struct uv_loop_s *loop)
{
	uv_walk(loop, close_handle, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	if (uv_loop_close(loop) != 0)
		abort();
}
