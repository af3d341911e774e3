// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

/**
 * A failure of the host, not of the script: its {@linkplain #getCode() code} is one of {@code invalid_policy},
 * {@code python_not_found}, {@code python_unsupported}, {@code sandbox_unavailable}, {@code session_limit},
 * {@code session_not_found}, {@code session_busy}, {@code session_not_forkable}, {@code overloaded}, {@code shutting_down} and {@code internal}.
 */
public class PyExecutorException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What kind of failure it is. */
    private final String code;
    /** What to do next, or null. */
    private final String hint;

    /**
     * @param code what kind of failure it is
     * @param message what happened
     * @param hint what to do next, or null
     */
    public PyExecutorException(String code, String message, String hint) {
        this(code, message, hint, null);
    }

    PyExecutorException(String code, String message, String hint, Throwable cause) {
        super(hint == null || hint.isEmpty() ? message : message + " (" + hint + ")", cause);
        this.code = code;
        this.hint = hint;
    }

    /** The same failure, with more text in its message. */
    PyExecutorException(PyExecutorException failure, String more) {
        super(failure.getMessage() + "\n" + more, failure);
        this.code = failure.code;
        this.hint = failure.hint;
    }

    /** @return what kind of failure it is, for programs */
    public String getCode() {
        return code;
    }

    /** @return what to do next, or null */
    public String getHint() {
        return hint;
    }
}
