// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.examples;

import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;

/** A single run, a session, and an error, with the calls of the original guide's demo. */
public final class PyExecutorDemo {
    private PyExecutorDemo() {
    }

    /**
     * Runs the examples.
     *
     * @param args none
     * @throws Exception when the host can't run Python
     */
    public static void main(String[] args) throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setPythonBin("python3");
        policy.setTimeout(java.time.Duration.ofSeconds(10));
        SessionConfig sessionConfig = new SessionConfig();
        sessionConfig.setWorkspaceRoot(System.getProperty("java.io.tmpdir"));
        PyExecutor pyExecutor = new PyExecutor(policy, sessionConfig);

        showSingleRun(pyExecutor);
        showSession(pyExecutor);
        showError(pyExecutor);
    }

    private static void showSingleRun(PyExecutor pyExecutor) throws Exception {
        System.out.println("== A single run");
        PyExecutionResult result = pyExecutor.executeOnce("a = 5\nb = 10\na * b", null);
        if (result.getExitCode() == 0) {
            System.out.println("last value: " + result.getLastValueRepr());
        }
    }

    private static void showSession(PyExecutor pyExecutor) throws Exception {
        System.out.println("== A session");
        String sessionId = "pyexecutor-demo";
        try {
            pyExecutor.execute(sessionId, "my_list = [1, 2, 3]", null);
            PyExecutionResult result = pyExecutor.execute(sessionId, "my_list.append(4); my_list", null);
            System.out.println("last value: " + result.getLastValueRepr());
        } finally {
            pyExecutor.closeSession(sessionId);
        }
    }

    private static void showError(PyExecutor pyExecutor) throws Exception {
        System.out.println("== An error");
        PyExecutionResult result = pyExecutor.executeOnce("result = 1 / 0", null);
        System.out.println("exit code: " + result.getExitCode());
        System.out.println("error: " + result.getErrorRepr());
        System.out.println(result.getStderr());
    }
}
