/* SPDX-License-Identifier: ISC */
/*
 * Actions on main: each is given to one app that serves its name, at most once, and ends exactly
 * once, by the answer of the app, its time, the app's end, or the end of this server's role.
 */
#ifndef BH_SYNCD_ACTION_H
#define BH_SYNCD_ACTION_H

#include "client.h"

enum {
	ACTION_GIVEN_MAX = 16,		 /* that one app has without having answered */
	ACTION_UNREAD_MAX = 1024 * 1024, /* bytes that an app has not read: it is given no more */
	ACTION_SERVED_MAX = 256,	 /* names of one connection */
	ACTION_WAITING_MAX = 1024,	 /* not given to an app yet */
	ACTION_WAITING_NAME_MAX = 256,	 /* ... of one name */
	ACTION_BYTES_MAX = 64 * 1024 * 1024 /* ... payloads of all, and the newest beyond */
};

void action_init(struct face *f);

/*
 * The action of that client begins: it is answered now, or waits (CLIENT_ACTS) for the end of it.
 */
void action_begin(struct client *c, const struct face_action *a, const char *server);
/* Gives what waits to apps that have room. Not while a handler runs. */
void action_turn(struct face *f);
/* Ends those whose time is up. */
void action_expire(struct face *f);
/* When the next one's time is up; 0: none. */
int64_t action_next_ms(const struct face *f);
/* Something changed that may let action_turn() give more. */
void action_room(struct face *f);
/* The client is gone, or as new: as an app, and as the one who asked. */
void action_forget(struct client *c);
/* The app c answers. false: it has no such action; *late: it had, but its time was over. */
bool action_answer(
    struct client *c, uint64_t id, enum control_end end, struct slice answer, bool *late);

#endif
