/* SPDX-License-Identifier: ISC */
/*
 * The event loop: libuv, with channels on it.
 */
#ifndef BH_LIB_LOOP_H
#define BH_LIB_LOOP_H

#include <stdint.h>
#include <uv.h>

#include "channel.h"
#include "clock.h"

/*
 * Make a loop. Fatal when it cannot be made, and from then on when libuv finds no memory: by itself
 * it would abort.
 */
void loop_open(uv_loop_t *loop);
/*
 * In a sandboxed process, before the sandbox: have libuv's table of descriptors made as long as it
 * can ever become (RLIMIT_NOFILE), so that no connection can be the one for which there is no
 * memory.
 */
void loop_reserve(uv_loop_t *loop);

/*
 * Poll the channel in the loop. closed is called once, from the loop, when the peer is gone or
 * broke the protocol (c->violation says which); it has been detached then, and the owner closes it.
 */
typedef void channel_closed(struct channel *c);
void loop_attach_channel(uv_loop_t *loop, struct channel *c, channel_closed *closed);
void loop_detach_channel(struct channel *c);

#endif
