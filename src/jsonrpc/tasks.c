#include "jsonrpc/tasks.h"

#include "base/error.h"

#define WORKS_MAX 1024      /* more than a queue of the default length can hold */
#define STACK_BYTES (512u << 10)

void px_works_init(struct px_works *works)
{
    *works = (struct px_works){0};
    pthread_mutex_init(&works->lock, NULL);
    pthread_cond_init(&works->changed, NULL);
}

void px_works_done(struct px_works *works)
{
    pthread_mutex_destroy(&works->lock);
    pthread_cond_destroy(&works->changed);
}

static void *serve(void *argument)
{
    struct px_work *work = argument;
    struct px_works *works = work->works;
    void (*release)(struct px_work *) = work->free;
    work->run(work);
    pthread_mutex_lock(&works->lock);
    struct px_work **at = &works->first;
    while (*at != work)
        at = &(*at)->next;
    *at = work->next;
    pthread_mutex_unlock(&works->lock);
    release(work);
    /* The owner may be freed as soon as count is 0. */
    pthread_mutex_lock(&works->lock);
    works->count--;
    pthread_cond_broadcast(&works->changed);
    pthread_mutex_unlock(&works->lock);
    return NULL;
}

void px_work_arrived(void *data)
{
    struct px_work *work = data;
    pthread_mutex_lock(&work->works->lock);
    work->arrived = true;
    pthread_cond_broadcast(&work->works->changed);
    pthread_mutex_unlock(&work->works->lock);
}

/* Messages are taken in the order of their arrival, so the calls of a session are too. */
static bool on_its_way(const struct px_works *works, const struct px_work *wanted)
{
    for (const struct px_work *work = works->first; work; work = work->next)
        if (work == wanted)
            return work->in_order && !work->arrived;
    return false;
}

int px_works_start(struct px_works *works, struct px_work *work, pyexec_error *error)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_mutex_lock(&works->lock);
    int failed = 0;
    bool full = works->count >= WORKS_MAX;
    if (!full) {
        work->works = works;
        work->next = works->first;
        works->first = work;
        works->count++;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        failed = pthread_create(&thread, &attributes, serve, work);
        pthread_attr_destroy(&attributes);
        if (failed) {
            works->first = work->next;
            works->count--;
        }
    }
    while (!failed && !full && on_its_way(works, work))
        pthread_cond_wait(&works->changed, &works->lock);
    pthread_mutex_unlock(&works->lock);
    if (full)
        return px_error_set(error, PYEXEC_OVERLOADED, "%d requests are in progress", WORKS_MAX);
    return failed ? px_error_exhausted(error, failed, "can't start a thread for the request") : 0;
}

bool px_works_idle(struct px_works *works)
{
    pthread_mutex_lock(&works->lock);
    bool idle = works->count == 0;
    pthread_mutex_unlock(&works->lock);
    return idle;
}

void px_works_stop(struct px_works *works)
{
    pthread_mutex_lock(&works->lock);
    for (struct px_work *work = works->first; work; work = work->next)
        work->cancel(work);
    while (works->count)
        pthread_cond_wait(&works->changed, &works->lock);
    pthread_mutex_unlock(&works->lock);
}
