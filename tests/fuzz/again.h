/* SPDX-License-Identifier: ISC */
/*
 * The files of the supervisor and of syncd with state of their own, compiled with functions that
 * end what the file has in the loop, and set its state back to what it is when the program starts.
 * So every input of fuzz_supervisor finds the same supervisor, every one of fuzz_syncd the same
 * syncd, and one that fails is enough to see it again.
 */
#ifndef BH_TESTS_FUZZ_AGAIN_H
#define BH_TESTS_FUZZ_AGAIN_H

/* While the loop is there. */
void end_actions(void);
void end_channels(void);
void end_conffile(void);
void end_processes(void);

/* When it is closed. Other descriptors are forgotten: the caller closes them all. */
void again_actions(void);
void again_conffile(void);
void again_processes(void);
void again_reload(void);
void again_sockets(void);

/* syncd, when its links and its face are closed, and its store is not. */
void again_feed(void);
void again_follow(void);
void again_position(void);
void again_proxy(void);
void again_reach(void);

#endif
