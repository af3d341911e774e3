// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

/**
 * Thrown by a tool to fail with more than a message. In the script it is a {@code ToolError} with this message, and with
 * the data as its {@code data}. Any other exception of a tool is a {@code ToolError} with that exception's message.
 */
public class PyToolException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final transient Object data;

    /**
     * @param message the script can read it, so it must contain no secret
     * @param data what JSON has, or what {@link PyExecutionOptions#setInputs} takes; null: none
     */
    public PyToolException(String message, Object data) {
        super(message);
        this.data = data;
    }

    /** @return the data for the script, or null */
    public Object getData() {
        return data;
    }
}
