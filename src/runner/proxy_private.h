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
    bool registered;  /* with the process that runs now */
    uint64_t reports; /* how many have come */
    json_t *denied;   /* events since the last report, a list */
    json_t *report;   /* the newest one */
};

enum px_proxy_state { PX_PROXY_OFF, PX_PROXY_RUNS, PX_PROXY_ENDED };

struct px_proxy {
    struct px_proxy_options options;
    pthread_mutex_t start_lock; /* held while the process is started or ended; protects socket, pidfd, log and reader */
    int socket, pidfd, log;
    pthread_t reader;
    int certificates;
    pthread_mutex_t send_lock; /* one packet at a time, and the socket is not replaced meanwhile */
    pthread_mutex_t lock;      /* protects what follows */
    pthread_cond_t changed;
    enum px_proxy_state state;
    pid_t pid;
    uint64_t numbers;
    struct px_proxy_run *runs;
};

/* Asks for a report and waits for it (`last`: the run's connections end first). False if none came. */
bool px_proxy_ask_report(struct px_proxy_run *run, bool last);

/* The caller holds the lock. Takes what the program says about a run. */
void px_proxy_take_event(struct px_proxy *proxy, const json_t *event);

#endif
