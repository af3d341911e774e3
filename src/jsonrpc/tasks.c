/* SPDX-License-Identifier: Apache-2.0 */
#include "jsonrpc/tasks.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/thread.h"
#include "jsonrpc/line_server.h"

#define WORKS_MAX 1024 /* more than the default queue can hold */
#define STACK_BYTES (512u << 10)

void px_tasks_init(struct px_tasks *tasks)
{
    *tasks = (struct px_tasks){0};
    pthread_mutex_init(&tasks->lock, NULL);
    pthread_cond_init(&tasks->changed, NULL);
}

void px_tasks_done(struct px_tasks *tasks)
{
    px_threads_join(tasks->ended);
    pthread_mutex_destroy(&tasks->lock);
    pthread_cond_destroy(&tasks->changed);
}

/* Runs the task. Returns a thread that must be joined, if `leaves`: this thread ends then. */
static struct px_ended_threads run_task(struct px_task *task, bool leaves)
{
    struct px_tasks *tasks = task->tasks;
    struct px_ended_threads before = {0};
    void (*release)(struct px_task *) = task->free;
    task->run(task);
    pthread_mutex_lock(&tasks->lock);
    struct px_task **at = &tasks->first;
    while (*at != task)
        at = &(*at)->next;
    *at = task->next;
    pthread_mutex_unlock(&tasks->lock);
    release(task);
    /* When the count is 0, nobody waits for tasks any more: the memory of this one must be free by then. */
    pthread_mutex_lock(&tasks->lock);
    tasks->count--;
    if (leaves)
        before = px_threads_leave(&tasks->ended);
    pthread_cond_broadcast(&tasks->changed);
    pthread_mutex_unlock(&tasks->lock);
    return before;
}

static void *serve(void *task)
{
    px_threads_join(run_task(task, true));
    return NULL;
}

void px_task_arrived(void *data)
{
    struct px_task *task = data;
    if (task->reads) {
        task->reads = false;
        px_line_server_let_go(task->tasks->server);
        return;
    }
    pthread_mutex_lock(&task->tasks->lock);
    task->arrived = true;
    pthread_cond_broadcast(&task->tasks->changed);
    pthread_mutex_unlock(&task->tasks->lock);
}

/* True while the task has not got its place among the calls of its session. Until then the next message must wait,
 * so that the calls of a session keep their order. */
static bool on_its_way(const struct px_tasks *tasks, const struct px_task *wanted)
{
    for (const struct px_task *task = tasks->first; task; task = task->next)
        if (task == wanted)
            return task->in_order && !task->arrived;
    return false;
}

/* With the lock held. */
static int list_task(struct px_tasks *tasks, struct px_task *task, pyexec_error *error)
{
    if (tasks->closed)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "pyexec is shutting down");
    if (tasks->count >= WORKS_MAX)
        return px_error_set(error, PYEXEC_OVERLOADED, "%d requests are in progress", WORKS_MAX);
    task->tasks = tasks;
    task->next = tasks->first;
    tasks->first = task;
    tasks->count++;
    return 0;
}

/* With the lock held. Returns 0 or an errno. */
static int start_thread(struct px_tasks *tasks, struct px_task *task)
{
    pthread_t thread;
    int failed = px_thread_create_sized(&thread, STACK_BYTES, serve, task);
    if (failed) {
        tasks->first = task->next;
        tasks->count--;
    }
    return failed;
}

int px_tasks_start(struct px_tasks *tasks, struct px_task *task, pyexec_error *error)
{
    pthread_mutex_lock(&tasks->lock);
    int status = list_task(tasks, task, error), failed = status == 0 ? start_thread(tasks, task) : 0;
    while (status == 0 && !failed && on_its_way(tasks, task))
        pthread_cond_wait(&tasks->changed, &tasks->lock);
    pthread_mutex_unlock(&tasks->lock);
    return failed ? px_error_exhausted(error, failed, "can't start a thread for the request") : status;
}

int px_tasks_start_here(struct px_tasks *tasks, struct px_task *task, pyexec_error *error)
{
    if (!tasks->server)
        return px_tasks_start(tasks, task, error);
    int failed = px_line_server_reserve(tasks->server);
    if (failed)
        return px_error_exhausted(error, failed, "can't start a thread for the request");
    pthread_mutex_lock(&tasks->lock);
    int status = list_task(tasks, task, error);
    if (status == 0)
        tasks->here = task;
    pthread_mutex_unlock(&tasks->lock);
    return status;
}

bool px_tasks_run_here(struct px_tasks *tasks)
{
    struct px_task *task = TAKE_PTR(tasks->here);
    if (!task)
        return false;
    task->reads = true;
    if (!task->in_order)
        px_task_arrived(task);
    run_task(task, false);
    return true;
}

bool px_tasks_idle(struct px_tasks *tasks)
{
    pthread_mutex_lock(&tasks->lock);
    bool idle = tasks->count == 0;
    pthread_mutex_unlock(&tasks->lock);
    return idle;
}

void px_tasks_stop(struct px_tasks *tasks)
{
    pthread_mutex_lock(&tasks->lock);
    tasks->closed = true;
    for (struct px_task *task = tasks->first; task; task = task->next)
        task->cancel(task);
    while (tasks->count)
        pthread_cond_wait(&tasks->changed, &tasks->lock);
    pthread_mutex_unlock(&tasks->lock);
}
