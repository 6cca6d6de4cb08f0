/* SPDX-License-Identifier: ISC */
/*
 * What the files of the role machine share. Nobody else includes this.
 *
 * machine.c              entry: time, inputs, the order of one step, records, names
 * machine_evidence.c     what is known about partners and references, and the verdict
 * machine_join.c         nobody is main: start-up, election, lone start
 * machine_arbitration.c  standby: take over or not; main: stay or not
 * machine_lease.c        mode voters: leases
 * machine_switchover.c   planned hand-over, ordered stop, admin commands
 * machine_ledger.c       outputs, and the reasons
 */
#ifndef BH_ROLED_MACHINE_INTERNAL_H
#define BH_ROLED_MACHINE_INTERNAL_H

#include "machine.h"

/* One call of machine_step. */
struct step {
	struct machine *m;
	struct machine_outputs *out;
	int64_t now;
	int changed;	       /* something that other rules look at: evaluate again */
	int announce;	       /* tell all partners at once */
	uint32_t answer;       /* tell these partners at once */
	uint8_t why, why_peer; /* reason of this evaluation */
	int64_t why_due_ms;    /* when it would act, or MACHINE_NEVER */
};

/* ---- machine.c */
/*
 * Whether a moment has come; if not, the step asks to be woken then. Every comparison with a
 * deadline goes through here, so that no decision is later than the moment that proves it.
 */
int step_reached(struct step *s, int64_t at_ms);
int64_t ms_add(int64_t at_ms, int64_t span_ms);			   /* MACHINE_NEVER stays never */
uint8_t server_of_id(const struct machine_config *c, uint32_t id); /* index or NOBODY */
int server_is_partner(const struct machine *m, unsigned i, enum server_kind kind);
int machine_observing(const struct machine *m);
int machine_paused(struct step *s); /* here or on a partner that said so */
int machine_in_sync(const struct machine *m);
int machine_healthy(const struct machine *m);
int machine_blank(const struct machine *m); /* no data, and the group has some */
/* data is known of, and ours not looked at yet */
int machine_data_unknown(const struct machine *m);

/* ---- machine_evidence.c */
int64_t evidence_silence_ms(const struct machine_config *c);
int64_t evidence_ping_window_ms(const struct machine_config *c);
void evidence_note_lateness(struct step *s, int64_t late_ms);
void evidence_take_link(struct step *s, const struct machine_link *l);
void evidence_take_icmp(struct step *s, const struct machine_icmp *ic);
void evidence_take_local(struct step *s, const struct machine_local *l);
/* The common part of every record; 0 when it is news, -1 when it is to be ignored. */
int evidence_take_record(
    struct step *s, unsigned i, unsigned path, unsigned direction, const struct status_record *r);
void evidence_update(struct step *s);		/* verdicts, references, isolation */
int evidence_fresh(struct step *s, unsigned i); /* on a link, within the silence time */
int evidence_heard(struct step *s, unsigned i); /* ... and since we were last frozen */
int evidence_majority(const struct machine *m);
int64_t evidence_ping_ms(const struct machine_partner *p); /* newest answer on any path, 0 never */
/* References that answered after partner i had missed all but one of its messages and pings. */
unsigned evidence_references_since(const struct machine *m, unsigned i);
int64_t evidence_references_ok_ms(const struct machine *m); /* newest answer, 0 never */
unsigned evidence_links(const struct machine_partner *p);
/* A standby that could take the role over now, as it says itself. */
int evidence_ready(struct step *s, unsigned i, int healthy);
/* Whether server a comes before b (self included): data, priority, name. */
int evidence_before(const struct machine *m, unsigned a, unsigned b);

/* ---- roles (machine_arbitration.c) */
void role_promote(struct step *s, enum rule rule, uint8_t peer, int64_t margin_ms);
void role_demote(struct step *s, enum rule rule, uint8_t peer, uint8_t new_main);
uint64_t role_next_epoch(const struct machine *m);
void role_follow(struct step *s, uint8_t i, const struct status_record *r);
void role_track_main(struct step *s, unsigned i, const struct status_record *r);
void role_take_result(struct step *s, const struct machine_action_result *r);
void role_hook_failed(struct step *s, uint8_t kind, int64_t duration_ms);
void standby_decide(struct step *s);
void main_decide(struct step *s);
/* 1 when a rule forbids any automatic promotion now; the reason is set. */
int standby_held(struct step *s, uint8_t peer);

/* ---- machine_join.c */
void join_decide(struct step *s);

/* ---- machine_lease.c */
void lease_init(struct machine *m, int64_t now_ms);
void lease_take_record(struct step *s, unsigned i, const struct status_record *r);
void lease_main(struct step *s);
void lease_candidate(struct step *s, enum rule rule, uint8_t peer);
void lease_drop(struct step *s);
void lease_fill(const struct machine *m, int64_t now_ms, unsigned i, struct status_record *r);

/* ---- machine_switchover.c */
uint8_t handover_best(struct step *s, int healthy); /* index or NOBODY */
void handover_begin(struct step *s, enum rule rule, uint8_t to, uint64_t command_id);
void handover_take_record(struct step *s, unsigned i, const struct status_record *r);
void handover_take_result(struct step *s, const struct machine_action_result *r);
void handover_take_drained(struct step *s);
void handover_decide(struct step *s);
void stop_decide(struct step *s);
void admin_take(struct step *s, const struct machine_admin *a);

/* ---- machine_ledger.c */
struct machine_output *step_emit(struct step *s, enum output_kind kind);
void step_persist(struct step *s, int durable);
void step_send(
    struct step *s, uint32_t mask, enum record_kind kind, uint8_t successor, enum rule reason);
void step_reply(struct step *s, uint64_t *id, enum ctl_result result, enum rule rule, uint8_t peer);
int step_alarm(struct step *s, enum rule rule, uint8_t peer, int on);
void step_why(struct step *s, enum rule rule, uint8_t peer, int64_t due_ms);
void ledger_add(
    struct step *s, enum ledger_kind kind, enum rule rule, uint8_t peer, int64_t margin_ms);
void ledger_finish(struct step *s); /* the reason of the step, when it changed */
uint64_t step_hook(
    struct step *s, enum output_kind kind, enum hook_kind hook, enum rule rule, uint8_t peer);
uint32_t partner_mask(const struct machine *m);

#endif
