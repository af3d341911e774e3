// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.concurrent.TimeoutException;

/** The execution reached its wall-clock limit. */
public class PyExecutionTimeoutException extends TimeoutException {
    private static final long serialVersionUID = 1L;

    private final transient PyExecutionResult result;

    PyExecutionTimeoutException(PyExecutionResult result) {
        super(result.getErrorRepr() == null ? "timeout" : result.getErrorRepr());
        this.result = result;
    }

    /** @return the result of the execution, with its output until the limit */
    public PyExecutionResult getResult() {
        return result;
    }
}
