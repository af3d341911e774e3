/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/verify_call.h"

#include "guest/embedded_python.h"
#include "guest/pyobject_access.h"

int px_verify_prepare(PyObject *names)
{
    px_auto_object PyObject *none = px_embedded_call("prepare_calls", PyTuple_Pack(1, names), NULL);
    return none ? 0 : -1;
}

int px_verify_call(const struct px_script *run, PyObject *names, struct px_report *report)
{
    px_auto_object PyObject *pair =
        px_embedded_call("call_function",
                         Py_BuildValue("(Os#K)", names, run->variables, (Py_ssize_t)run->variables_length,
                                       (unsigned long long)run->max_value),
                         NULL);
    if (!pair || !PyTuple_Check(pair) || PyTuple_Size(pair) != 2)
        return pair ? 0 : -1;
    PyObject *text = PyTuple_GetItem(pair, 0), *problem = PyTuple_GetItem(pair, 1);
    if (PyUnicode_Check(text))
        px_pyobject_text(&report->value_json, text, PX_VALUE_MAX);
    else if (PyUnicode_Check(problem))
        px_pyobject_text(&report->value_json_error, problem, 1000);
    return 0;
}
