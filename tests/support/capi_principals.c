/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads make and close sessions of one principal at the same time, below the given folder. All threads want to
 * make the same session; prints how many of them made it. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <pyexec.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define DIE(error) (fprintf(stderr, "%s (%s)\n", (error).message, (error).hint), exit(1))

static pyexec_executor *executor;
static atomic_int made;

static void *work(void *number)
{
    char id[32];
    pyexec_error error;
    snprintf(id, sizeof id, "p/%d", (int)(long)number);
    for (int i = 0; i < 20; i++) {
        if (pyexec_session_create(executor, id, NULL, NULL, &error) < 0 ||
            pyexec_session_write_file(executor, id, "f", "x", 1, &error) < 0 ||
            pyexec_session_close(executor, id, &error) < 0)
            DIE(error);
    }
    if (pyexec_session_create(executor, "q/same", NULL, NULL, &error) == 0)
        made++;
    else if (error.sys_errno != EEXIST)
        DIE(error);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[6];
    char configuration[512];
    pyexec_error error;
    snprintf(configuration, sizeof configuration,
             "{\"policy\": {\"python_bin\": \"/usr/bin/python3\", \"disable_open\": false}, "
             "\"session\": {\"workspace_root\": \"%s\"}}",
             count > 1 ? arguments[1] : "");
    if (pyexec_executor_open(configuration, &executor, &error) < 0)
        DIE(error);
    pyexec_executor_use_principals(executor);
    for (long i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    pyexec_executor_free(executor);
    printf("%d\n", made);
    return 0;
}
