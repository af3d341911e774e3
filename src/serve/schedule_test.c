/* SPDX-License-Identifier: Apache-2.0 */
/* Tests which job runs next. Jobs that wait at a gate keep their worker busy, so the jobs that are submitted in
 * the meantime have to be chosen from. No test depends on time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>

#include "base/cleanup.h"
#include "serve/schedule.h"

struct task {
    struct px_job job; /* first */
    char name;
    sem_t *gate; /* the job waits here before it ends; NULL: it ends at once */
    sem_t begun, ended;
};

static struct px_principal ann = {.name = "ann"}, bob = {.name = "bob"}, eve = {.name = "eve"};

/* The names of the jobs, in the order in which they began. */
static struct {
    pthread_mutex_t lock;
    char text[64];
    size_t length;
} began = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void run(struct px_job *job)
{
    struct task *task = (struct task *)job;
    pthread_mutex_lock(&began.lock);
    began.text[began.length++] = task->name;
    pthread_mutex_unlock(&began.lock);
    sem_post(&task->begun);
    if (task->gate)
        while (sem_wait(task->gate) < 0)
            ;
    sem_post(&task->ended);
}

static int clear(void **state)
{
    (void)state;
    memset(began.text, 0, sizeof began.text);
    began.length = 0;
    return 0;
}

static void init(struct task *task, char name, struct px_principal *principal, const char *session, sem_t *gate)
{
    *task = (struct task){.job = {.principal = principal, .session = session, .run = run}, .name = name, .gate = gate};
    sem_init(&task->begun, 0, 0);
    sem_init(&task->ended, 0, 0);
}

static void submit(struct px_schedule *schedule, struct task *task)
{
    pyexec_error error = {0};
    if (px_schedule_submit(schedule, &task->job, &error) < 0)
        fail_msg("%s", error.message);
}

static void await(sem_t *event)
{
    while (sem_wait(event) < 0)
        ;
}

static struct px_schedule *make(size_t workers, size_t queue_length, size_t principal_jobs)
{
    struct px_schedule_limits limits = {
        .workers = workers, .queue_length = queue_length, .principal_jobs = principal_jobs};
    struct px_schedule *schedule = NULL;
    pyexec_error error;
    assert_int_equal(px_schedule_new(&limits, &schedule, &error), 0);
    return schedule;
}

static void test_principals_take_turns(void **state)
{
    struct px_schedule *schedule = make(1, 100, 0);
    struct task first, tasks[7];
    sem_t gate;
    (void)state;
    sem_init(&gate, 0, 0);
    init(&first, '0', &eve, NULL, &gate);
    submit(schedule, &first);
    await(&first.begun);
    for (size_t i = 0; i < PX_COUNT(tasks); i++) {
        init(&tasks[i], "aaaabbe"[i], i < 4 ? &ann : i < 6 ? &bob : &eve, NULL, NULL);
        submit(schedule, &tasks[i]);
    }
    sem_post(&gate);
    px_schedule_end(schedule);
    /* After eve's job comes the job of the next principal. */
    assert_string_equal(began.text, "0abeabaa");
    px_schedule_free(schedule);
}

static void test_calls_of_a_session_go_one_after_another_and_hold_no_worker(void **state)
{
    struct px_schedule *schedule = make(2, 100, 0);
    struct task a1, a2, a3, b, other;
    sem_t gate;
    (void)state;
    sem_init(&gate, 0, 0);
    init(&a1, '1', &ann, "ann/s", &gate);
    init(&a2, '2', &ann, "ann/s", NULL);
    init(&a3, '3', &ann, "ann/s", NULL);
    init(&b, 'b', &ann, "ann/t", NULL);
    /* A session of the same name that belongs to another principal. */
    init(&other, 'o', &bob, "ann/s", NULL);
    submit(schedule, &a1);
    await(&a1.begun);
    submit(schedule, &a2);
    submit(schedule, &a3);
    submit(schedule, &b);
    submit(schedule, &other);
    await(&b.ended);
    await(&other.ended);
    assert_int_equal(sem_trywait(&a2.begun), -1);
    sem_post(&gate);
    px_schedule_end(schedule);
    assert_int_equal(began.length, 5);
    assert_true(strchr(began.text, '2') < strchr(began.text, '3'));
    assert_true(strchr(began.text, 'b') < strchr(began.text, '2'));
    assert_true(strchr(began.text, 'o') < strchr(began.text, '2'));
    px_schedule_free(schedule);
}

static void test_a_principal_has_only_so_many_jobs_at_once(void **state)
{
    struct px_schedule *schedule = make(3, 100, 2);
    struct task anns[3], bobs;
    sem_t gate;
    (void)state;
    sem_init(&gate, 0, 0);
    for (size_t i = 0; i < PX_COUNT(anns); i++) {
        init(&anns[i], 'a', &ann, NULL, &gate);
        submit(schedule, &anns[i]);
    }
    init(&bobs, 'b', &bob, NULL, NULL);
    submit(schedule, &bobs);
    await(&bobs.ended);
    await(&anns[0].begun);
    await(&anns[1].begun);
    struct px_schedule_counts counts;
    px_schedule_count(schedule, &counts);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(sem_trywait(&anns[2].begun), -1);
    sem_post(&gate);
    await(&anns[2].begun);
    sem_post(&gate);
    sem_post(&gate);
    px_schedule_end(schedule);
    assert_int_equal(began.length, 4);
    px_schedule_free(schedule);
}

static void refused_as_full(struct px_schedule *schedule, struct px_principal *principal)
{
    struct task late;
    pyexec_error error = {0};
    init(&late, 'l', principal, NULL, NULL);
    assert_int_equal(px_schedule_submit(schedule, &late.job, &error), -1);
    assert_int_equal(error.code, PYEXEC_OVERLOADED);
    assert_true(error.retry_after_ms > 0);
    assert_int_not_equal(error.sys_errno, EAGAIN);
}

static void test_a_full_queue_refuses_and_one_principal_fills_half_of_it(void **state)
{
    struct px_schedule *schedule = make(1, 4, 0);
    struct task first, anns[2], bobs[2];
    struct px_schedule_counts counts;
    sem_t gate;
    (void)state;
    sem_init(&gate, 0, 0);
    init(&first, '0', &ann, NULL, &gate);
    submit(schedule, &first);
    await(&first.begun);
    for (size_t i = 0; i < PX_COUNT(anns); i++) {
        init(&anns[i], 'a', &ann, NULL, NULL);
        submit(schedule, &anns[i]);
    }
    refused_as_full(schedule, &ann);
    for (size_t i = 0; i < PX_COUNT(bobs); i++) {
        init(&bobs[i], 'b', &bob, NULL, NULL);
        submit(schedule, &bobs[i]);
    }
    refused_as_full(schedule, &bob);
    refused_as_full(schedule, &eve);
    px_schedule_count(schedule, &counts);
    assert_int_equal(counts.running, 1);
    assert_int_equal(counts.waiting, 4);
    assert_int_equal(counts.refused_queue, 3);
    assert_int_equal(counts.refused_rate, 0);
    sem_post(&gate);
    px_schedule_end(schedule);
    assert_string_equal(began.text, "0baba");
    px_schedule_count(schedule, &counts);
    assert_true(counts.running == 0 && counts.waiting == 0);
    px_schedule_free(schedule);
}

static void test_the_end_waits_for_what_was_taken_and_refuses_what_is_new(void **state)
{
    struct px_schedule *schedule = make(4, 100, 0);
    struct task tasks[20], late;
    pyexec_error error = {0};
    (void)state;
    for (size_t i = 0; i < PX_COUNT(tasks); i++) {
        init(&tasks[i], 't', i % 2 ? &ann : &bob, i % 3 ? "s" : NULL, NULL);
        submit(schedule, &tasks[i]);
    }
    px_schedule_close(schedule);
    init(&late, 'l', &ann, NULL, NULL);
    assert_int_equal(px_schedule_submit(schedule, &late.job, &error), -1);
    assert_int_equal(error.code, PYEXEC_SHUTTING_DOWN);
    px_schedule_end(schedule);
    for (size_t i = 0; i < PX_COUNT(tasks); i++)
        assert_int_equal(sem_trywait(&tasks[i].ended), 0);
    assert_int_equal(began.length, PX_COUNT(tasks));
    px_schedule_free(schedule);
}

struct chained {
    struct task task; /* first */
    struct px_schedule *schedule;
    struct task *next;
};

static void run_and_submit(struct px_job *job)
{
    struct chained *chained = (struct chained *)job;
    pyexec_error error = {0};
    (void)!px_schedule_submit(chained->schedule, &chained->next->job, &error);
    run(job);
}

static void test_a_job_may_submit_another(void **state)
{
    struct px_schedule *schedule = make(1, 100, 0);
    struct task second;
    struct chained first = {.schedule = schedule, .next = &second};
    (void)state;
    init(&first.task, '1', &ann, "s", NULL);
    init(&second, '2', &ann, "s", NULL);
    first.task.job.run = run_and_submit;
    submit(schedule, &first.task);
    await(&second.ended);
    assert_string_equal(began.text, "12");
    px_schedule_free(schedule);
}

static struct px_begun_job begin(struct px_schedule *schedule, struct task *task)
{
    struct px_begun_job begun = {0};
    pyexec_error error = {0};
    if (px_schedule_begin(schedule, &task->job, &begun, &error) < 0)
        fail_msg("%s", error.message);
    return begun;
}

static void *end_schedule(void *schedule)
{
    px_schedule_end(schedule);
    return NULL;
}

/* What can't begin at once goes to a worker, in its order. The end of the schedule waits for both. */
static void test_a_job_begins_on_the_thread_that_submits_it_if_nothing_waits(void **state)
{
    struct px_schedule *schedule = make(2, 100, 0);
    struct task here, same_session, other;
    struct px_schedule_counts counts;
    pthread_t ending;
    (void)state;
    init(&here, '1', &ann, "ann/s", NULL);
    init(&same_session, '2', &ann, "ann/s", NULL);
    init(&other, '3', &bob, NULL, NULL);
    struct px_begun_job begun = begin(schedule, &here);
    assert_ptr_equal(begun.job, &here.job);
    assert_null(begin(schedule, &same_session).schedule);
    assert_null(begin(schedule, &other).schedule); /* another job waits */
    await(&other.ended);
    do { /* the worker has run it, and will count that */
        px_schedule_count(schedule, &counts);
    } while (counts.running == 2);
    assert_int_equal(counts.running, 1);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(pthread_create(&ending, NULL, end_schedule, schedule), 0);
    assert_string_equal(began.text, "3");
    px_schedule_run(&begun);
    pthread_join(ending, NULL);
    assert_string_equal(began.text, "312");
    px_schedule_count(schedule, &counts);
    assert_true(counts.running == 0 && counts.waiting == 0);
    px_schedule_free(schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_principals_take_turns, clear),
        cmocka_unit_test_setup(test_calls_of_a_session_go_one_after_another_and_hold_no_worker, clear),
        cmocka_unit_test_setup(test_a_principal_has_only_so_many_jobs_at_once, clear),
        cmocka_unit_test_setup(test_a_full_queue_refuses_and_one_principal_fills_half_of_it, clear),
        cmocka_unit_test_setup(test_the_end_waits_for_what_was_taken_and_refuses_what_is_new, clear),
        cmocka_unit_test_setup(test_a_job_may_submit_another, clear),
        cmocka_unit_test_setup(test_a_job_begins_on_the_thread_that_submits_it_if_nothing_waits, clear),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
