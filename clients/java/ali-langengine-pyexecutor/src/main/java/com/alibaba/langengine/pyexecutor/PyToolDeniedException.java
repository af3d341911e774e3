// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

/**
 * Thrown by a tool that refuses a call. In the script it is a {@code PermissionError}: {@code tool 'x' denied: REASON}; the
 * result lists it among its denials.
 */
public class PyToolDeniedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param reason the script can read it, so it must contain no secret */
    public PyToolDeniedException(String reason) {
        super(reason);
    }
}
