/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a session, for the session*.c files. */
#ifndef PX_EXECUTOR_SESSION_PRIVATE_H
#define PX_EXECUTOR_SESSION_PRIVATE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "executor/runtime.h"
#include "executor/session_state.h"
#include "runner/child.h"

enum px_session_end {
    PX_END_NONE,
    PX_END_KILLED,
    PX_END_CRASHED,
    PX_END_TIMEOUT,
    PX_END_CPU_LIMIT,
    PX_END_MEMORY_LIMIT,
    PX_END_IDLE_TTL,
    PX_END_HARD_TTL,
    PX_END_EVICTED,
    PX_END_CLOSED,
    PX_END_HOST_RESTART, /* it ended in another executor, before this one */
    PX_END_COUNT
};
const char *px_session_end_name(enum px_session_end end);
/* PX_END_COUNT: there is no such reason */
enum px_session_end px_session_end_find(const char *name);

struct px_session_checkpoint; /* session_checkpoint.c */

struct px_session {
    struct px_session *next, *previous; /* ordered by last use, the oldest first; only sessions that live */
    struct px_session *next_in_bucket;  /* links of the table */
    struct px_session *next_by_number;
    struct px_session *idle_next, *idle_previous; /* the idle ones of its owner, by last use */
    struct px_session_owner *owner;
    size_t timer; /* its place in the timers, counted from 1; 0: none */
    int64_t expires_ns;
    uint64_t number;   /* no other session of this executor has it */
    char *key;         /* "PRINCIPAL/ID", or only the id */
    const char *id;    /* the id inside of `key` */
    char *history_key; /* a copy of the key, for the history of ended sessions */
    struct px_policy policy;
    struct px_tools *tools;       /* tools of all its calls, or NULL; they do not change */
    struct px_zygote_group *kind; /* held while the session lives */
    struct px_child child;
    enum px_session_process process;
    int files;     /* the child's workspace, for other threads than the one of its call; or -1; the lock protects it */
    int host_root; /* workspace_root, or the principal's folder in it; or -1 */
    uint64_t used_bytes; /* size of the files in a folder below workspace_root, at the last measurement */
    bool full;           /* the files have reached the quota and must not grow */
    bool own_folder;     /* pyexec made it in workspace_root, and removes it at the end */
    char workspace_path[PX_WORKSPACE_PATH_MAX];
    int64_t created_ns, used_ns;
    _Atomic uint64_t calls; /* this call is counted; other threads that list sessions read the number */
    bool threads_left;      /* its threads run between calls */
    int64_t idle_cpu_ns;    /* CPU time used when its last call ended */
    bool cpu_timed;         /* it has the timer that limits its CPU time while idle */
    timer_t cpu_timer;
    enum px_session_end restarted; /* why the session with this key before it ended */
    bool watched, output_watched;  /* watched by the session monitor: the process, its streams */

    unsigned references; /* calls that use or wait for it */
    uint64_t next_ticket, serving;
    enum px_session_state state;
    enum px_session_end end; /* the reason, once the session has ended */
    pyexec_request *running;
    bool forking;                              /* its workspace is being copied or put back */
    struct px_session_checkpoint *checkpoints; /* the newest first; only the call that has the session uses them */
    pthread_cond_t changed;
};

#define PX_SESSION_BUCKETS 4096 /* a power of two */

/* A principal that has sessions (session_order.h). */
struct px_session_owner {
    struct px_session_owner *next;
    struct px_session *oldest_idle, *newest_idle;
    size_t count; /* of its sessions, busy ones too */
    size_t length;
    char name[]; /* of `length` bytes: the start of their keys, with the slash */
};

struct px_session_timers {
    struct px_session **items;
    size_t count, room;
    uint64_t moves; /* how often a session got a new place, for the test of the cost */
};

struct px_sessions {
    pyexec_executor *executor;
    pthread_mutex_t lock;
    struct px_session *buckets[PX_SESSION_BUCKETS]; /* the table of live sessions, by the hash of the key */
    struct px_session *numbers[PX_SESSION_BUCKETS]; /* the same sessions, by number */
    struct px_session_owner *owners[PX_SESSION_BUCKETS];
    struct px_session_timers timers;
    struct px_session *oldest, *newest;
    size_t count;
    bool refusing;           /* no new sessions are made */
    pyexec_session_fn watch; /* called when a session begins or ends, with the lock held; or NULL */
    void *watch_data;
    json_t *most;  /* the max_count of principals that have their own, by name */
    json_t *ended; /* why the sessions of the last PX_HISTORY_MAX keys ended */
    char **history;
    size_t history_next;
    uint64_t opened, numbered, ends[PX_END_COUNT];
    pthread_t monitor;
    bool monitor_runs, stopping;
    int64_t sleeps_until; /* when the session monitor next wakes by itself */
    int wake, epoll, signals;
    pid_t monitor_tid;
    sem_t monitor_ready;
    pthread_mutex_t folders_lock; /* held while principals' folders, and the folders in them, are made */
    json_t *folders;              /* the names of the folders that pyexec made, as keys */
};

/* Returns the id in a key. */
static inline const char *px_session_id(const char *key)
{
    const char *slash = strchr(key, '/');
    return slash ? slash + 1 : key;
}

/* Returns the principal as a JSON string, or null. */
json_t *px_session_principal(const struct px_session *session);

/* The caller holds the lock. Makes a session for its first call: ends an idle session of the principal if it has too many,
 * and puts the new one into the tables. NULL with `error`. */
struct px_session *px_session_new(struct px_sessions *sessions, const char *key, const struct px_policy *policy,
                                  pyexec_error *error);

/* Frees the session when nobody uses it any more. The lock need not be held. */
void px_session_free(struct px_sessions *sessions, struct px_session *session);

/* The caller holds the lock. Notes that the session was used now. */
void px_session_touch(struct px_sessions *sessions, struct px_session *session);

/* The caller holds the lock. Takes the session out of the table. During a call it ends after that call; `cancel`
 * ends the call early. */
void px_session_end(struct px_sessions *sessions, struct px_session *session, enum px_session_end why, bool cancel);

/* The caller holds the lock. Takes the turn of a call in an idle session for which no call waits. */
void px_session_enter_alone(struct px_sessions *sessions, struct px_session *session);
/* Gives the turn to the next call. `alive`: the process can have more calls; otherwise the session ends with `end`. */
void px_session_leave(struct px_sessions *sessions, struct px_session *session, bool alive, enum px_session_end end);

/* What a call has to do with checkpoints. */
struct px_session_keeping {
    bool kept;    /* the state before it */
    char *failed; /* why auto_checkpoint could not keep it, or NULL */
};

/* Called in a call, before the script runs. Keeps the state of the session, if the request or the policy wants that. Returns 0, or
 * -1 with `error` when the request wants it and it can't be done. */
int px_session_keep(struct px_sessions *sessions, struct px_session *session, const pyexec_request *request,
                    struct px_session_keeping *ret, pyexec_error *error);
/* Returns to the newest state that was kept, when the process has ended in the call. Returns false if the session can't go on. */
bool px_session_restore(struct px_sessions *sessions, struct px_session *session);
void px_session_drop_checkpoints(struct px_session *session);

/* The caller holds the lock. Finds an idle session and takes the turn of a call, as px_session_enter_alone() does, for a fork or an
 * undo; nobody may use its files meanwhile. NULL with session_busy if a call runs or waits. */
struct px_session *px_session_enter_still(struct px_sessions *sessions, const char *key, const char *what,
                                          pyexec_error *error);

/* Checks whether this can be the key of a session: an id, or with principals PRINCIPAL/ID. Returns 0, or -1 with
 * invalid_request, which names the `member` of the request. */
int px_session_check_key(const pyexec_executor *executor, const char *key, const char *member, pyexec_error *error);

/* Refuses the key of a session that exists already. */
int px_session_refuse_taken(const char *key, pyexec_error *error);

/* Returns when its hard TTL ends; INT64_MAX: never. */
int64_t px_session_hard_end(const struct px_sessions *sessions, const struct px_session *session);

/* Returns the executor's table of sessions. It is made at the first use. */
struct px_sessions *px_sessions_get(pyexec_executor *executor, pyexec_error *error);

#define PX_HISTORY_MAX 10000 /* how many ended sessions are remembered; docs/rpc.md promises it */

/* Returns the live session of a key, or NULL. */
struct px_session *px_session_look_up(const struct px_sessions *sessions, const char *key);

/* Returns the live session with this number, or NULL. */
struct px_session *px_session_by_number(const struct px_sessions *sessions, uint64_t number);

/* Returns the bucket of a key, or of the start of one. */
size_t px_session_hash(const char *key, size_t length);

/* Puts the session into the tables. The memory to record its end is allocated here. Returns 0, or -1 when there is
 * no memory. */
int px_session_list(struct px_sessions *sessions, struct px_session *session);

/* Takes it out of the table of live sessions, after px_session_remember() has recorded why. */
void px_session_unlist(struct px_sessions *sessions, const struct px_session *session);

/* Records why the session ended; allocates nothing. A live session with this key keeps its entry. */
void px_session_remember(struct px_sessions *sessions, struct px_session *session, enum px_session_end why);

/* Records the end of a session that was not in this executor. Does nothing for a live session. Returns 0, or -1
 * when there is no memory. */
int px_session_remember_other(struct px_sessions *sessions, const char *key, enum px_session_end why);

/* Returns the session, or NULL with session_not_found. The caller holds the lock. */
struct px_session *px_session_find(struct px_sessions *sessions, const char *key, pyexec_error *error);

/* Returns the session like px_session_find(), when no fork of it is in progress. The caller holds the lock, which is released while
 * this waits. */
struct px_session *px_session_find_settled(struct px_sessions *sessions, const char *key, pyexec_error *error);

/* Makes the session's folder below workspace_root, and its principal's. If `ret_mount` is not NULL, the folder is
 * also opened and mounted; otherwise *ret_folder does not change (session_folder.c). */
int px_session_open_folder(struct px_sessions *sessions, struct px_session *session, int *ret_folder, int *ret_mount,
                           pyexec_error *error);
struct px_branch; /* runner/branch.h */
/* Makes the folder of a branch beside that of its source, and opens and mounts it into *ret. It belongs to the owner of the
 * source's folder. */
int px_session_open_branch_folder(struct px_sessions *sessions, const struct px_session *source,
                                  struct px_session *branch, struct px_branch *ret, pyexec_error *error);
/* Called before a call. Refuses the request's files if they do not fit into the folder. Lets the script's files
 * grow again if some were deleted. */
int px_session_prepare_quota(struct px_session *session, const pyexec_request *request, pyexec_error *error);
/* Called after a call. If the kernel enforces no quota, a script may have written too much; then its files must
 * not grow any more. Returns false when they were at the quota before and have grown since. */
bool px_session_keep_quota(struct px_session *session, pyexec_result *result);

/* Removes the folders that pyexec made. The session's process must be gone. */
void px_session_remove_folder(struct px_sessions *sessions, struct px_session *session);

/* The monitor thread (session_monitor.c): timers, deaths, output of idle sessions. */
int px_session_monitor_start(struct px_sessions *sessions, pyexec_error *error);
void px_session_monitor_stop(struct px_sessions *sessions);
/* Makes the timer for the process's CPU time, before the process does any work. */
int px_session_monitor_time(struct px_sessions *sessions, struct px_session *session, pyexec_error *error);
/* The caller holds the lock. Call these when a call has ended and the process lives; when a call begins; when the
 * session ends. */
void px_session_monitor_idle(struct px_sessions *sessions, struct px_session *session);
void px_session_monitor_busy(struct px_sessions *sessions, struct px_session *session);
void px_session_monitor_forget(struct px_sessions *sessions, struct px_session *session);

#endif
