/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/reseed.h"

#include <stdint.h>

#include "base/retry.h"
#include "guest/pyobject_access.h"

#define MT19937_WORDS 624 /* the length of the generator's key (numpy.random.MT19937) */
#define BUFFER_READ 0x100 /* PyBUF_READ, which the limited API of CPython 3.8 does not name */

/* The generator of numpy.random's functions, and a state for it: the key is `words`. */
static PyObject *numpy, *numpy_state;
static uint32_t words[MT19937_WORDS];

static void call_seed(const char *name)
{
    px_auto_object PyObject *module = px_pyobject_module(name);
    px_auto_object PyObject *seed = module ? px_pyobject_attribute(module, px_name.seed) : NULL;
    px_auto_object PyObject *result = seed ? PyObject_CallObject(seed, NULL) : NULL;
    PyErr_Clear();
}

/* Returns the attribute of a module: a new reference, or NULL. */
static PyObject *find(const char *module_name, const char *name)
{
    px_auto_object PyObject *module = px_pyobject_module(module_name);
    return module ? PyObject_GetAttrString(module, name) : NULL;
}

static PyObject *new_numpy_state(void)
{
    px_auto_object PyObject *bytes = PyMemoryView_FromMemory((char *)words, sizeof words, BUFFER_READ);
    px_auto_object PyObject *key = bytes ? PyObject_CallMethod(bytes, "cast", "s", "I") : NULL;
    return key ? Py_BuildValue("{s:s,s:{s:O,s:i}}", "bit_generator", "MT19937", "state", "key", key, "pos",
                               MT19937_WORDS)
               : NULL;
}

static bool set_numpy_state(void)
{
    return numpy && px_random_bytes(words, sizeof words) == 0 &&
           PyObject_SetAttrString(numpy, "state", numpy_state) == 0;
}

void px_reseed_prepare(void)
{
    px_drop_object(&numpy);
    px_drop_object(&numpy_state);
    px_auto_object PyObject *random_state = find("numpy.random.mtrand", "_rand");
    numpy_state = random_state ? new_numpy_state() : NULL;
    numpy = numpy_state ? PyObject_GetAttrString(random_state, "_bit_generator") : NULL;
    if (numpy) {
        call_seed("numpy.random"); /* also forgets the second number of a pair that a normal distribution made */
        if (!set_numpy_state())
            px_drop_object(&numpy);
    }
    PyErr_Clear();
}

void px_reseed_openssl(void)
{
    /* OpenSSL notices a fork by a new process id, but all children of one zygote have the process id 1. */
    px_auto_object PyObject *ssl = px_pyobject_module("_ssl");
    char bytes[32];
    if (!ssl || px_random_bytes(bytes, sizeof bytes) < 0)
        return;
    px_auto_object PyObject *result =
        PyObject_CallMethod(ssl, "RAND_add", "y#d", bytes, (Py_ssize_t)sizeof bytes, (double)sizeof bytes);
    PyErr_Clear();
}

PyObject *px_reseed_keep_random(void)
{
    px_auto_object PyObject *module = px_pyobject_module("random");
    PyObject *state = module ? PyObject_CallMethod(module, "getstate", NULL) : NULL;
    PyErr_Clear();
    return state;
}

void px_reseed_restore_random(PyObject *state)
{
    px_auto_object PyObject *module = state ? px_pyobject_module("random") : NULL;
    px_auto_object PyObject *none = module ? PyObject_CallMethod(module, "setstate", "(O)", state) : NULL;
    PyErr_Clear();
}

void px_reseed(void)
{
    if (!set_numpy_state())
        call_seed("numpy.random");
    px_reseed_openssl();
    PyErr_Clear();
}
