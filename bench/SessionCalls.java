// SPDX-License-Identifier: Apache-2.0

import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.io.BufferedReader;
import java.io.InputStreamReader;

/** For clients.py: makes a call of a session for each line of its input, and prints its microseconds. */
public final class SessionCalls {
    private SessionCalls() {
    }

    public static void main(String[] args) throws Exception {
        try (PyExecutor executor = new PyExecutor(new PyExecutionPolicy(), new SessionConfig())) {
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
            while (lines.readLine() != null) {
                long begun = System.nanoTime();
                String value = executor.execute("bench", "1 + 1", null).getLastValueRepr();
                System.out.println((System.nanoTime() - begun) / 1e3);
                if (!"2".equals(value)) {
                    throw new AssertionError(value);
                }
            }
        }
    }
}
