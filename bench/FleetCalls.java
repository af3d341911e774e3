// SPDX-License-Identifier: Apache-2.0

import com.alibaba.langengine.pyexecutor.HostConfig;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;

/** For fleet.py: makes a run for each line of its input, over `http` or `nats`, and prints its microseconds. Arguments: URL, token, URL. */
public final class FleetCalls {
    private FleetCalls() {
    }

    public static void main(String[] args) throws Exception {
        try (PyExecutor http = new PyExecutor(null, new SessionConfig(), new HostConfig().setUrl(args[0]).setToken(args[1]));
                PyExecutor nats = new PyExecutor(null, new SessionConfig(), new HostConfig().setUrl(args[2]))) {
            Map<String, PyExecutor> executors = Map.of("http", http, "nats", nats);
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                PyExecutor executor = executors.get(line.trim());
                long begun = System.nanoTime();
                String value = executor.executeOnce("1 + 1", null).getLastValueRepr();
                System.out.println((System.nanoTime() - begun) / 1e3);
                if (!"2".equals(value)) {
                    throw new AssertionError(value);
                }
            }
        }
    }
}
