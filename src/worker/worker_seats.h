/* SPDX-License-Identifier: Apache-2.0 */
/* What worker_sessions.c, worker_seats.c, worker_forks.c, worker_keys.c, worker_keep.c and worker_bucket.c share: seats, and entries of
 * buckets. A seat is what this node knows about the id of one session. */
#ifndef PX_WORKER_WORKER_SEATS_H
#define PX_WORKER_WORKER_SEATS_H

#include <string.h>

#include "worker/worker.h"

#define PX_SESSIONS_BUCKET "pyexec_sessions"
#define PX_KEYS_BUCKET "pyexec_keys"
#define PX_KEYS_AGE "86400000000000" /* a day, in ns: of keys and of kept answers */
#define PX_SEAT_BUCKETS 4096u
/* JetStream's errors. */
#define PX_STREAM_EXISTS 10058 /* a stream of this name exists, with other settings */
#define PX_ENTRY_MISSING 10037 /* no message has this subject */
#define PX_JETSTREAM_NEEDED "need JetStream (nats-server -js), and room on its disk. " PX_HINT_AGAIN
#define PX_JETSTREAM_HINT "Sessions " PX_JETSTREAM_NEEDED

struct px_seat {
    struct px_seat *next;
    struct px_worker *worker;
    char *key; /* PRINCIPAL.ID, both base64url */
    char *principal, *session;
    bool ours;     /* this node is the owner */
    bool fresh;    /* since the entry was made no call can have made the session */
    bool gone;     /* the server has no such session any more */
    bool doubted;  /* this node was away for long: the bucket is asked before the next call */
    bool asking;   /* the bucket, or the other nodes, are being asked about the owner */
    bool invented; /* this node chose the id */
    bool losing;   /* the entry's node is gone; if no live node has the session, it is lost */
    bool made;     /* this node has made the entry, since it last asked the bucket */
    bool lost; /* the entry was removed while this node was away: the server's session is one that the fleet has lost */
    int tries;
    int64_t absent_ns;           /* since when nobody listens at the owner; 0: not known */
    struct px_seat *next_absent; /* the bucket is asked again at the next tick */
    size_t
        users; /* requests that have the seat, questions to NATS about it, forks that make it: it stays until there are none */
    int64_t used_ns;
    struct px_node_request *first, **last;
    size_t count;
    struct px_node_request *at_work; /* an ordered call that the server has */
    char *other;                     /* the owner, while it is asked whether it is alive */
    char other_boot[PX_NODE_ID_SIZE];
    uint64_t revision;
};

struct px_sessions_table {
    struct px_seat *buckets[PX_SEAT_BUCKETS];
    size_t count;
    int64_t stream_ns;      /* when the stream was last made */
    size_t removing;        /* entries that are being removed */
    struct px_seat *absent; /* seats whose owner is not there, perhaps only for a moment */
    bool complained;
    bool warned;     /* about the version of the NATS server */
    unsigned cursor; /* the bucket that was last looked at for ended sessions */
};

/* Returns PRINCIPAL.ID, both base64url, for free(). NULL: no memory. */
char *px_seat_key(const char *principal, const char *session);
struct px_seat *px_seat_find(struct px_worker *worker, const char *key);
struct px_seat *px_seat_add(struct px_worker *worker, const char *principal, const char *session);
struct px_seat *px_seat_hold(struct px_seat *seat);
/* One user fewer. After the last one the seat is freed, if this node is not the owner of the id, or there is no
 * session; the entry is then removed too. */
void px_seat_release(struct px_seat *seat);
/* Frees a seat that nobody uses. */
void px_seat_drop(struct px_seat *seat);
/* Sends a request about the session to the server, for this program itself. False: no memory. */
bool px_seat_ask_server(struct px_seat *seat, const char *method, void (*done)(struct px_node_request *request));
/* The call waits no more, if it did. */
void px_seat_remove_waiting(struct px_seat *seat, struct px_node_request *request);
/* Takes the first call that waits, to answer it with an error. The caller has the seat too. */
struct px_node_request *px_seat_take_first(struct px_seat *seat);
/* How many ids belong to this node. */
size_t px_seats_owned(const struct px_worker *worker);

/* True for the status of a call that has changed nothing. */
static inline bool px_status_refuses(int status)
{
    return (status >= 400 && status < 500 && status != 409) || status == 503;
}

/* True if the call can't make the session. */
static inline bool px_request_looks(const struct px_node_request *request)
{
    return request->looks || strcmp(request->method, "GET") == 0;
}

/* The server has answered a message of the Model Context Protocol (worker_mcp.c). */
void px_node_mcp_answered(struct px_node_request *request, int status);

/* ---- Buckets (worker_bucket.c) ---- */

/* Makes an entry of a bucket, with this node as its value, if there is none. `request`: an id that is added to it, or NULL. */
void px_entry_create(struct px_worker *worker, const char *bucket, const char *key, const char *request, px_ask_fn *fn,
                     void *closure);
enum px_entry_outcome { PX_ENTRY_MADE, PX_ENTRY_TAKEN, PX_ENTRY_REFUSED, PX_ENTRY_UNANSWERED };
/* What became of it, from the answer that the function got. `ret_revision`: of the entry that was made, else 0. */
enum px_entry_outcome px_entry_created(natsMsg *message, uint64_t *ret_revision);
/* Counts it (worker_figures.c). */
void px_figures_claimed(_Atomic uint64_t *won, _Atomic uint64_t *lost, _Atomic uint64_t *failed,
                        enum px_entry_outcome outcome);
#define PX_FIGURES_CLAIMED(worker, what, outcome) \
    px_figures_claimed(&(worker)->figures->what##_won, &(worker)->figures->what##_lost, \
                       &(worker)->figures->what##_failed, outcome)
/* Why there is no entry, for a title. */
const char *px_entry_why(enum px_entry_outcome outcome);
/* Writes the entry of this node again, if it still has this revision, so that its age begins again. */
void px_entry_renew(struct px_worker *worker, const char *bucket, const char *key, const char *request,
                    uint64_t revision);
/* Gives an entry of this revision to another node. The function may be NULL. */
void px_entry_give(struct px_worker *worker, const char *bucket, const char *key, const char *node, const char *boot,
                   uint64_t revision, px_ask_fn *fn, void *closure);
/* Asks for an entry. */
void px_entry_read(struct px_worker *worker, const char *bucket, const char *key, px_ask_fn *fn, void *closure);
/* UNKNOWN: JetStream does not answer, or can't say now. Only NONE says that there is no such entry. */
enum px_entry_state { PX_ENTRY_THERE, PX_ENTRY_NONE, PX_ENTRY_UNKNOWN };
/* From the answer that the function got. `ret` and `ret_revision` (or NULL): of an entry that is there. */
enum px_entry_state px_entry_state(natsMsg *message, struct px_buffer *ret, uint64_t *ret_revision);
/* Makes a bucket, if it is not there. `age_ns`: how long its entries are kept; "0": always. `bytes`: how large it may become, then the
 * oldest entries are removed; "-1": no limit. */
void px_bucket_make(struct px_worker *worker, const char *name, const char *age_ns, const char *bytes, px_ask_fn *fn,
                    void *closure);
/* True if the bucket is there, from the answer that the function got. Otherwise the log says why, once. */
bool px_bucket_made(struct px_worker *worker, const char *name, natsMsg *message);
/* Removes the entry, if it has not changed since this revision (0: in every case). */
void px_entry_remove(struct px_worker *worker, const char *bucket, const char *key, uint64_t revision);
/* The same. The function gets JetStream's answer, whose `purged` is 0 if there was no such entry any more. */
void px_entry_purge(struct px_worker *worker, const char *bucket, const char *key, uint64_t revision, px_ask_fn *fn,
                    void *closure);
/* Parses an answer of JetStream, which the caller frees, and returns its error code; 0: none. */
long px_entry_error(natsMsg *message, json_t **ret);

/* An entry that is made for a request, as the closure of px_entry_create(): the request may have ended when the answer comes. */
struct px_claim {
    char id[PX_NODE_ID_SIZE]; /* of the request */
    uint64_t revision;        /* of the entry that was made */
    unsigned looks;           /* how often the entry was read, after no answer came */
    char key[];
};
/* Returns it for free(). NULL: no memory. */
struct px_claim *px_claim_new(const struct px_node_request *request, const char *key);
/* Returns the request, or NULL if it has ended. */
struct px_node_request *px_claim_request(struct px_worker *worker, const struct px_claim *claim);

/* ---- Forks (worker_forks.c) ---- */

/* Replaces `count` by ids. */
enum px_forks_outcome {
    PX_FORKS_NAMED,
    PX_FORKS_BAD_BODY, /* the server says what is wrong with it */
    PX_FORKS_FAILED,   /* there is no memory, or there are no random numbers for the ids */
};
enum px_forks_outcome px_forks_name(struct px_node_request *request);
/* Claims the next id; after the last one the request goes to the server. */
void px_forks_claim(struct px_node_request *request);
/* The fork has ended: gives back what was claimed, if the server did not make the branches. */
void px_forks_done(struct px_node_request *request);

#endif
