/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/session_history.h"

#include <stdlib.h>
#include <string.h>

#include "guest/modules.h"
#include "guest/pyobject_access.h"

#define CELLS_MAX 500
#define CELLS_BYTES (4u << 20)

static struct px_source *newest;
static size_t cells, bytes; /* number and size of the cells that are kept */

static void free_cells(struct px_source *cell)
{
    while (cell) {
        struct px_source *next = cell->next;
        px_modules_forget(cell->filename);
        px_source_done(cell);
        free((void *)(uintptr_t)cell->filename);
        free((void *)(uintptr_t)cell->code);
        free(cell);
        cell = next;
    }
}

/* Drops the oldest cells until both limits hold. It starts only at twice a limit, so that few calls pay for it. */
static void drop_oldest(void)
{
    if (cells < 2 * CELLS_MAX && bytes < 2 * CELLS_BYTES)
        return;
    cells = bytes = 0;
    for (struct px_source *cell = newest; cell; cell = cell->next) {
        cells++;
        bytes += cell->length;
        if (cell->next && (cells >= CELLS_MAX || bytes + cell->next->length > CELLS_BYTES)) {
            free_cells(cell->next);
            cell->next = NULL;
        }
    }
}

struct px_source *px_session_history_add(const struct px_script *run)
{
    struct px_source *cell = calloc(1, sizeof *cell);
    char *filename = strdup(run->filename), *code = malloc(run->code_length + 1);
    if (!cell || !filename || !code) {
        free(cell);
        free(filename);
        free(code);
        return NULL;
    }
    memcpy(code, run->code, run->code_length + 1);
    *cell = (struct px_source){.filename = filename, .code = code, .length = run->code_length, .next = newest};
    newest = cell;
    cells++;
    bytes += cell->length;
    drop_oldest();
    return cell;
}

int px_session_environment_save(struct px_session_environment *saved, PyObject *variables, char **env)
{
    saved->environ = variables;
    saved->before = PyList_New(0);
    for (char **entry = env; saved->before && entry && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        if (!equals)
            continue;
        px_auto_object PyObject *name = PyBytes_FromStringAndSize(*entry, equals - *entry);
        PyObject *value = name ? PyDict_GetItem(variables, name) : NULL;
        px_auto_object PyObject *pair = name ? PyTuple_Pack(2, name, value ? value : Py_None) : NULL;
        if (!pair || PyList_Append(saved->before, pair) < 0)
            return -1;
    }
    return saved->before ? 0 : -1;
}

void px_session_environment_restore(struct px_session_environment *saved)
{
    Py_ssize_t count = saved->before ? PyList_Size(saved->before) : 0;
    for (Py_ssize_t i = count; i-- > 0;) {
        PyObject *pair = PyList_GetItem(saved->before, i);
        PyObject *name = PyTuple_GetItem(pair, 0), *value = PyTuple_GetItem(pair, 1);
        if (value == Py_None) {
            unsetenv(PyBytes_AsString(name));
            PyDict_DelItem(saved->environ, name);
        } else {
            setenv(PyBytes_AsString(name), PyBytes_AsString(value), 1);
            PyDict_SetItem(saved->environ, name, value);
        }
        PyErr_Clear();
    }
    px_drop_object(&saved->before);
}
