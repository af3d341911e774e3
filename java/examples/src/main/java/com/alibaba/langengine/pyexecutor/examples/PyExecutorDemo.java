package com.alibaba.langengine.pyexecutor.examples;

import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.time.Duration;

/** A single run, a session, and an error. */
public final class PyExecutorDemo {
    private PyExecutorDemo() {
    }

    /**
     * Shows them.
     *
     * @param args none
     * @throws Exception when the host can't run Python
     */
    public static void main(String[] args) throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofSeconds(5));
        SessionConfig sessions = new SessionConfig().setMaxCount(10).setIdleTtl(Duration.ofMinutes(5));

        try (PyExecutor executor = new PyExecutor(policy, sessions)) {
            System.out.println("== A single run");
            PyExecutionResult once = executor.executeOnce("a = 5\nb = 10\na * b", null);
            System.out.println("last value: " + once.getLastValueRepr());

            System.out.println("== A session");
            executor.execute("demo", "my_list = [1, 2, 3]", null);
            executor.execute("demo", "my_list.append(4)", null);
            PyExecutionResult list = executor.execute("demo", "print(len(my_list))\nmy_list", null);
            System.out.println("stdout: " + list.getStdout().trim());
            System.out.println("last value: " + list.getLastValueRepr());
            executor.closeSession("demo");

            System.out.println("== An error");
            PyExecutionResult error = executor.executeOnce("result = 1 / 0", null);
            System.out.println("exit code: " + error.getExitCode());
            System.out.println("error: " + error.getErrorRepr());
            System.out.println(error.getStderr());
        }
    }
}
