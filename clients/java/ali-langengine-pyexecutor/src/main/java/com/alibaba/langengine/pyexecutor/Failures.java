// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;

/** Makes exceptions of the errors of pyexec. */
final class Failures {
    private static final String OUTSIDE = "outside sandbox: ";

    private Failures() {
    }

    /**
     * @param code an error code of the protocol (docs/rpc.md, Errors)
     * @param retryAfter for `overloaded`: when the call may be made again; else null
     */
    static RuntimeException of(String code, String sent, String hint, Duration retryAfter) {
        String text = SessionIds.decodeIn(sent);
        if ("invalid_request".equals(code)) {
            int outside = text.indexOf(OUTSIDE);
            return new IllegalArgumentException((outside < 0 ? text : text.substring(outside))
                    + (hint == null || hint.isEmpty() ? "" : " (" + hint + ")"));
        }
        if ("overloaded".equals(code)) {
            return new PyExecutorOverloadedException(text, hint, retryAfter);
        }
        return new PyExecutorException(code, text, hint);
    }

    static IllegalArgumentException tooLong(String what) {
        return new IllegalArgumentException(what + ": the request is longer than 32 MiB");
    }

    static IllegalArgumentException noKeys() {
        return new IllegalArgumentException("key: only a fleet over NATS takes it");
    }

    static PyExecutorException closed() {
        return new PyExecutorException("shutting_down", "the executor is closed", "Make a new PyExecutor.");
    }
}
