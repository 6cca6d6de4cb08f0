/* SPDX-License-Identifier: ISC */
/*
 * The event loop of the sandboxed processes: libuv with channels on it.
 */
#ifndef BH_LIB_LOOP_H
#define BH_LIB_LOOP_H

#include <stdint.h>
#include <uv.h>

#include "channel.h"
#include "clock.h"

/*
 * Poll the channel in the loop. closed is called once, from the loop, when the peer is gone or broke
 * the protocol (c->violation says which); it has been detached then, and the owner closes it.
 */
typedef void channel_closed(struct channel *c);
void loop_attach_channel(uv_loop_t *loop, struct channel *c, channel_closed *closed);
void loop_detach_channel(struct channel *c);

#endif
