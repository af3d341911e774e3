/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/repl_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fork_ids.h"
#include "base/json.h"
#include "cli/print.h"

#define BLANKS " \t\f\r\n"

/* The words after a command. They point into the cell's copy. */
struct words {
    size_t count;
    char *items[PX_FORK_IDS_MAX];
};

/* ---- Sessions ---- */

static void drop_list(pyexec_session_list **list)
{
    pyexec_session_list_free(*list);
}

static bool exists(const struct repl_sessions *sessions, const char *id)
{
    pyexec_error ignored;
    px_auto(drop_list) pyexec_session_list *list = NULL;
    return pyexec_sessions(sessions->executor, id, &list, &ignored) == 0;
}

static int show_sessions(struct repl_sessions *sessions, struct words *words, pyexec_error *error)
{
    px_auto(drop_list) pyexec_session_list *list = NULL;
    px_auto_buffer struct px_buffer text = {0};
    if (words->count) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%%sessions takes no arguments");
        return px_error_hint(error, "Leave them out.");
    }
    if (pyexec_sessions(sessions->executor, NULL, &list, error) < 0)
        return -1;
    for (size_t i = 0; i < pyexec_session_list_count(list); i++) {
        const pyexec_session_info *session = pyexec_session_list_get(list, i);
        const char *id = pyexec_session_info_id(session);
        unsigned long long cells = pyexec_session_info_execution_count(session);
        px_buffer_printf(&text, "%c %s: %llu %s\n", strcmp(id, sessions->current) == 0 ? '*' : ' ', id, cells,
                         cells == 1 ? "cell" : "cells");
    }
    cli_print(&text);
    return 0;
}

static int switch_session(struct repl_sessions *sessions, struct words *words, pyexec_error *error)
{
    const char *id = words->count == 1 ? words->items[0] : "";
    if (words->count != 1) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%%switch needs the id of a session");
        return px_error_hint(error, "%%sessions lists them.");
    }
    if (strlen(id) >= sizeof sessions->current || !exists(sessions, id)) {
        px_error_set(error, PYEXEC_SESSION_NOT_FOUND, "there is no session '%.140s'", id);
        return px_error_hint(error, "%%sessions lists them.");
    }
    snprintf(sessions->current, sizeof sessions->current, "%s", id);
    return 0;
}

/* ---- Forks ---- */

/* Makes short ids for new sessions. */
static int make_ids(struct repl_sessions *sessions, size_t count, struct words *words, pyexec_error *error)
{
    for (words->count = 0; words->count < count; words->count++) {
        char id[24];
        do
            snprintf(id, sizeof id, "repl.%u", ++sessions->made);
        while (exists(sessions, id));
        words->items[words->count] = strdup(id);
        if (!words->items[words->count])
            return px_error_oom(error);
    }
    return 0;
}

static int fork_into(const struct repl_sessions *sessions, const struct words *ids, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    px_auto_free char *answer = NULL;
    if (pyexec_session_fork(sessions->executor, sessions->current, (const char *const *)ids->items, ids->count, &answer,
                            error) < 0) {
        if (error->code == PYEXEC_SESSION_NOT_FORKABLE && !sessions->forkable)
            px_error_hint(error, "Start the prompt with pyexec repl --forkable.");
        return -1;
    }
    for (size_t i = 0; i < ids->count; i++)
        px_buffer_printf(&text, "%s%s", i ? ", " : "", ids->items[i]);
    px_buffer_printf(&text, "\n%%switch %s continues there. This session stays as it is.\n", ids->items[0]);
    cli_print(&text);
    return 0;
}

static void free_words(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
}

/* Without arguments one session is made; one number says how many; other words are the ids. */
static int fork_session(struct repl_sessions *sessions, struct words *words, pyexec_error *error)
{
    px_auto(free_words) struct words made = {0};
    size_t count = 1;
    for (size_t i = 0; i < words->count; i++)
        if (words->items[i][0] == '-') {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "%%fork takes no flags and no negative numbers: %.20s",
                         words->items[i]);
            return px_error_hint(error, "Give a number from 1 to %d, or the ids of the new sessions.", PX_FORK_IDS_MAX);
        }
    if (words->count > 1 || (words->count == 1 && strspn(words->items[0], "0123456789") != strlen(words->items[0])))
        return fork_into(sessions, words, error);
    if (words->count == 1)
        count = strlen(words->items[0]) < 5 ? (size_t)atoi(words->items[0]) : 0;
    if (count < 1 || count > PX_FORK_IDS_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%%fork makes 1 to %d sessions, not %.20s", PX_FORK_IDS_MAX,
                     words->items[0]);
        return px_error_hint(error, "Give a number in this range, or the ids of the new sessions.");
    }
    return make_ids(sessions, count, &made, error) < 0 ? -1 : fork_into(sessions, &made, error);
}

/* ---- Undo ---- */

/* Without arguments the last cell is undone; a number says before which cell the session is then. */
static int undo(struct repl_sessions *sessions, struct words *words, pyexec_error *error)
{
    px_auto(drop_list) pyexec_session_list *list = NULL;
    px_auto_buffer struct px_buffer text = {0};
    px_auto_free char *answer = NULL;
    char *end = NULL;
    uint64_t to = words->count ? strtoull(words->items[0], &end, 10) : 0;
    if (words->count > 1 || (words->count && (*end || !to || words->items[0][0] == '-'))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%%undo takes at most the number of a cell");
        return px_error_hint(error, "Without a number the last cell is undone.");
    }
    if (pyexec_session_undo(sessions->executor, sessions->current, to, &answer, error) < 0) {
        if (error->code == PYEXEC_INVALID_REQUEST && strstr(error->message, "has no checkpoint"))
            px_error_hint(error, "Start the prompt with pyexec repl --auto-checkpoint. Each cell can be undone once.");
        return -1;
    }
    if (pyexec_sessions(sessions->executor, sessions->current, &list, error) < 0)
        return -1;
    px_buffer_printf(&text, "The session is as it was before cell %llu.\n",
                     (unsigned long long)pyexec_session_info_execution_count(pyexec_session_list_get(list, 0)) + 1);
    cli_print(&text);
    return 0;
}

/* ---- Commands ---- */

static const struct {
    const char *name;
    int (*run)(struct repl_sessions *sessions, struct words *words, pyexec_error *error);
} commands[] = {{"%fork", fork_session}, {"%sessions", show_sessions}, {"%switch", switch_session}, {"%undo", undo}};

static int run(struct repl_sessions *sessions, const char *name, struct words *words, pyexec_error *error)
{
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(sessions, words, error);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "there is no command '%.100s'", name);
    return px_error_hint(error, "%%fork [NUMBER or IDS], %%sessions, %%switch ID and %%undo [CELL] are known.");
}

static int too_many(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "more than %d words", PX_FORK_IDS_MAX);
    return px_error_hint(error, "Give fewer ids at once.");
}

bool repl_command(struct repl_sessions *sessions, const char *cell)
{
    struct words words = {0};
    pyexec_error error;
    char *at;
    if (cell[strspn(cell, BLANKS)] != '%')
        return false;
    px_auto_free char *copy = strdup(cell);
    const char *name = copy ? strtok_r(copy, BLANKS, &at) : NULL;
    int status = name ? 0 : px_error_oom(&error);
    for (char *word = name ? strtok_r(NULL, BLANKS, &at) : NULL; word && status == 0;
         word = strtok_r(NULL, BLANKS, &at))
        if (words.count < PX_FORK_IDS_MAX)
            words.items[words.count++] = word;
        else
            status = too_many(&error);
    if (status < 0 || run(sessions, name, &words, &error) < 0)
        cli_fail(&error);
    return true;
}
