package com.alibaba.langengine.pyexecutor;

import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Reads the native program's policy table, for tests of other packages. */
public final class NativePolicy {
    private NativePolicy() {
    }

    public static Map<String, Object> json(String text) {
        return Json.parseObject(text);
    }

    /** Returns what `pyexec policy` prints if nothing is configured. */
    public static Map<String, Object> defaults() throws Exception {
        ProcessBuilder command = NativeProgram.find(null).command("policy", "--config", "/dev/null");
        command.environment().keySet().removeIf(name -> name.startsWith("PYEXEC_POLICY_"));
        Process process = command.redirectError(ProcessBuilder.Redirect.INHERIT).start();
        return json(new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
    }

    public static Map<String, Object> of(PyExecutionPolicy policy) {
        return json(Json.write(policy.toMap(null)));
    }
}
