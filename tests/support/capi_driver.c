/* SPDX-License-Identifier: Apache-2.0 */
/* Calls the C API for a test (driver.py). Each line of the input is "FUNCTION<tab>ARGUMENT…"; its answer is the line
 * "ok<tab>ANSWER" or "error<tab>CODE<tab>ERRNO<tab>MESSAGE<tab>HINT". The first line is the configuration. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pyexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 8

static pyexec_executor *executor;
static pyexec_error failure;

static int answer(int result, const char *text)
{
    if (result == 0)
        printf("ok\t%s\n", text ? text : "");
    else
        printf("error\t%s\t%d\t%s\t%s\n", pyexec_code_name(failure.code), failure.sys_errno, failure.message,
               failure.hint);
    return fflush(stdout);
}

static int answer_taken(int result, char *text)
{
    answer(result, text);
    free(text);
    return 0;
}

static const char *given(const char *text)
{
    return *text ? text : NULL;
}

/* session ("" for a single run), request as JSON, ceiling */
static int execute(char **a)
{
    pyexec_request *request = pyexec_request_new();
    pyexec_result *result = NULL;
    int failed = pyexec_request_set_json(request, a[2], strlen(a[2]), &failure);
    if (failed == 0 && *a[3] && pyexec_request_set_ceiling(request, a[3]) < 0)
        exit(3);
    if (failed == 0)
        failed = *a[1] ? pyexec_execute(executor, a[1], request, &result, &failure)
                       : pyexec_execute_once(executor, request, &result, &failure);
    answer(failed, failed == 0 ? pyexec_result_json(result) : NULL);
    pyexec_result_free(result);
    pyexec_request_free(request);
    return 0;
}

/* session, path, "read"; or session, path, "write", contents */
static int stream(char **a)
{
    int fd = -1, writes = strcmp(a[3], "write") == 0;
    uint64_t bytes = 0;
    char block[4096] = "", text[4200];
    if (pyexec_session_open_file(executor, a[1], a[2], writes, &fd, &bytes, &failure) < 0)
        return answer(-1, NULL);
    if (writes && write(fd, a[4], strlen(a[4])) != (ssize_t)strlen(a[4]))
        strcpy(block, "short");
    else if (!writes && read(fd, block, sizeof block - 1) < 0)
        strcpy(block, "unreadable");
    close(fd);
    snprintf(text, sizeof text, "%llu %s", (unsigned long long)bytes, block);
    return answer(0, text);
}

/* The bytes that the process has allocated and not freed, in all arenas (mallinfo(3)). */
static int heap(void)
{
    char text[32];
    struct mallinfo2 all = mallinfo2();
    snprintf(text, sizeof text, "%zu", all.uordblks + all.hblkhd);
    return answer(0, text);
}

static char noted[4096];

/* pyexec_session_fn */
static void note(void *userdata, const char *session_id, const char *ended)
{
    size_t length = strlen(noted);
    (void)userdata;
    snprintf(noted + length, sizeof noted - length, "%s%s %s", length ? "," : "", session_id, ended ? ended : "begun");
}

static int dispatch(char **a)
{
    char *text = NULL;
    int result;
    if (strcmp(a[0], "execute") == 0)
        return execute(a);
    if (strcmp(a[0], "stream") == 0)
        return stream(a);
    if (strcmp(a[0], "heap") == 0)
        return heap();
    if (strcmp(a[0], "use_principals") == 0) {
        pyexec_executor_use_principals(executor);
        return answer(0, NULL);
    }
    if (strcmp(a[0], "watch") == 0)
        return answer(pyexec_executor_watch_sessions(executor, *a[1] ? note : NULL, NULL, &failure), NULL);
    if (strcmp(a[0], "watched") == 0)
        return answer(0, noted);
    if (strcmp(a[0], "remember") == 0)
        return answer(pyexec_executor_remember_session(executor, a[1], a[2], &failure), NULL);
    if (strcmp(a[0], "refuse_sessions") == 0)
        return answer(pyexec_executor_refuse_sessions(executor, &failure), NULL);
    if (strcmp(a[0], "close_all") == 0) {
        pyexec_session_close_all(executor);
        return answer(0, NULL);
    }
    if (strcmp(a[0], "create") == 0)
        return answer(pyexec_session_create(executor, a[1], given(a[2]), given(a[3]), &failure), NULL);
    if (strcmp(a[0], "close") == 0)
        return answer(pyexec_session_close(executor, a[1], &failure), NULL);
    if (strcmp(a[0], "write") == 0)
        return answer(pyexec_session_write_file(executor, a[1], a[2], a[3], strlen(a[3]), &failure), NULL);
    if (strcmp(a[0], "sessions") == 0)
        result = pyexec_sessions_json(executor, &text, &failure);
    else if (strcmp(a[0], "session") == 0)
        result = pyexec_session_json(executor, a[1], &text, &failure);
    else if (strcmp(a[0], "stats") == 0)
        result = pyexec_stats_json(executor, &text, &failure);
    else
        exit(2);
    return answer_taken(result, text);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        char *words[MOST] = {"", "", "", "", "", "", "", ""}, *at = line, *word;
        line[strcspn(line, "\n")] = '\0';
        if (!executor) {
            answer(pyexec_executor_open(line, &executor, &failure), NULL);
            continue;
        }
        for (int i = 0; i < MOST && (word = strsep(&at, "\t")); i++)
            words[i] = word;
        dispatch(words);
    }
    pyexec_executor_free(executor);
    free(line);
    return 0;
}
