// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

/**
 * There is no native program for this system (macOS, Windows, another C library or architecture), so scripts can only
 * run on a server. Its code is {@code sandbox_unavailable}.
 */
public class PyExecutorUnsupportedException extends PyExecutorException {
    private static final long serialVersionUID = 1L;

    PyExecutorUnsupportedException(String message) {
        super("sandbox_unavailable", message, "Use remote mode: set " + RemoteServer.URL_PROPERTY + " (or " + RemoteServer.URL_VARIABLE
                + ") to the URL of a pyexec serve on a Linux machine. On Linux you can also build pyexec from source and name the program"
                + " in the system property " + NativeProgram.PROPERTY + " or the environment variable " + NativeProgram.VARIABLE + ".");
    }
}
