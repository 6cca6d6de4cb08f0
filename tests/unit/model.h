/* SPDX-License-Identifier: ISC */
/*
 * A second implementation of what a change means (syncd/change.h), in memory and as plain as can
 * be: the tests of the store compare it with what the store says.
 */
#ifndef BH_TESTS_MODEL_H
#define BH_TESTS_MODEL_H

#include "syncd/store.h"

struct model;

struct model *model_new(void);
void model_free(struct model *m);
void model_apply(struct model *m, const struct change_op *op);
void model_apply_body(struct model *m, struct slice body);
size_t model_count(const struct model *m);
/* Whether the store holds exactly this: NULL, or what is different. */
const char *model_compare(const struct model *m, struct store *s);

/* Numbers that are the same in every run. */
struct dice {
	uint64_t state;
};
uint32_t dice_roll(struct dice *d, uint32_t below);
/* Makes a folder where a sync costs little, if there is such a place. path: 64 bytes. */
void make_folder(char *path);
/* With all that is in it. 0, or -1 with errno. */
int remove_folder(const char *path);
struct slice text(const char *s);
/* An operation on a small set of keys, long ones among them; its slices are good until the next. */
void dice_op(struct dice *d, const struct model *m, struct change_op *op);

#endif
