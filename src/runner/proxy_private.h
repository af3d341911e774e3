/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the proxy's host side: proxy.c has the process and the packets, proxy_report.c what they say about runs. */
#ifndef PX_RUNNER_PROXY_PRIVATE_H
#define PX_RUNNER_PROXY_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "runner/proxy.h"

struct px_proxy_run {
    struct px_proxy *proxy;
    struct px_proxy_run *next;
    uint64_t number;
    int listener;     /* the child's, which owns it */
    json_t *open;     /* the packet that registers it */
    uint64_t process; /* the number of the process that was told about it and has not ended; or 0 */
    bool opened;      /* that process serves it */
    json_t *refused;  /* or has said that it can't; or NULL */
    uint64_t reports; /* how many have come */
    json_t *denied;   /* events since the last report, a list */
    json_t *report;   /* the newest one */
    struct px_strings variables;
};

enum px_proxy_state { PX_PROXY_OFF, PX_PROXY_RUNS, PX_PROXY_ENDED };

struct px_proxy {
    struct px_proxy_options options;
    pthread_mutex_t start_lock; /* held while the process is started or ended; protects socket, pidfd, log and reader */
    uint64_t starts;            /* how many processes were started */
    int socket, pidfd, log;
    pthread_t reader;
    int certificates, secret_certificates;
    int authority;             /* the memory file of the key of the authority, which this process never reads; or -1 */
    char *authority_pem;       /* its certificate, or NULL */
    pthread_mutex_t send_lock; /* one packet at a time, and `process` does not change meanwhile */
    pthread_mutex_t lock;      /* protects what follows */
    pthread_cond_t changed;
    enum px_proxy_state state;
    uint64_t process; /* the number of the process that takes packets about runs, or 0; changed with both locks held */
    uint64_t numbers;
    struct px_proxy_run *runs;
};

/* Asks for a report and waits for it (`last`: the run's connections end first). False if none came. */
bool px_proxy_ask_report(struct px_proxy_run *run, bool last);

/* While the program starts, nobody else sends: it knows only the packets of its start. 0, or -1 with errno. */
int px_proxy_send(struct px_proxy *proxy, json_t *packet, const int *fds, size_t count);

/* Waits for the first packets of the program. NULL: none came. */
json_t *px_proxy_await_event(struct px_proxy *proxy);

/* After "ready": tells the program the secrets. */
int px_proxy_tell_secrets(struct px_proxy *proxy, pyexec_error *error);

/* Chooses the run's secrets: adds them to the packet that opens it, and their placeholders to its variables. */
int px_proxy_choose_secrets(struct px_proxy_run *run, const struct px_run_context *context, pyexec_error *error);

/* The caller holds the lock. Takes what the program says about a run. */
void px_proxy_take_event(struct px_proxy *proxy, const json_t *event);

#endif
