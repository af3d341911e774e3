// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

/**
 * The original's class of this name rendered the Python program that prepared the interpreter of sessions. Here the native
 * program does that, so {@link #render} gives a Python program that does nothing. It is here so that code written for the
 * original compiles.
 */
public final class PreludeBuilderDaemon {
    private PreludeBuilderDaemon() {
    }

    /**
     * A comment that has the policy in it.
     *
     * @param policy what scripts may do
     * @return Python source without a statement
     */
    public static String render(PyExecutionPolicy policy) {
        return Requests.preludeComment(policy);
    }
}
