package com.alibaba.langengine.pyexecutor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What concerns this machine: where the native program is, and how much runs at once. Read when the program starts. */
public class HostConfig {
    private String executable;
    private List<String> allowMissing = new ArrayList<>();
    private Integer queueLength;
    private Integer maxConcurrent;

    /** The defaults. */
    public HostConfig() {
    }

    /** @return the path of the native program, or null */
    public String getExecutable() {
        return executable;
    }

    /**
     * @param executable the path of the native program {@code pyexec}; null: looked up in PATH, else the one in the jar
     * @return this
     */
    public HostConfig setExecutable(String executable) {
        this.executable = executable;
        return this;
    }

    /** @return the isolation layers that runs may go without */
    public List<String> getAllowMissing() {
        return allowMissing;
    }

    /**
     * @param layers isolation layers (names of {@code pyexec doctor}) that runs may go without where the machine
     *     refuses them; each is then in {@link PyExecutionResult#getMissingLayers()}
     * @return this
     */
    public HostConfig setAllowMissing(String... layers) {
        this.allowMissing = new ArrayList<>(Arrays.asList(layers));
        return this;
    }

    /** @return how many calls may wait for a free place; null is pyexec's default, 256 */
    public Integer getQueueLength() {
        return queueLength;
    }

    /**
     * @param queueLength how many calls may wait for a free place; more throw {@link PyExecutorOverloadedException}
     * @return this
     */
    public HostConfig setQueueLength(Integer queueLength) {
        this.queueLength = queueLength;
        return this;
    }

    /** @return how many executions may run at once; null is pyexec's default, twice the number of CPUs */
    public Integer getMaxConcurrent() {
        return maxConcurrent;
    }

    /**
     * @param maxConcurrent how many executions may run at once
     * @return this
     */
    public HostConfig setMaxConcurrent(Integer maxConcurrent) {
        this.maxConcurrent = maxConcurrent;
        return this;
    }

    Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        if (!allowMissing.isEmpty()) {
            map.put("allow_missing", allowMissing);
        }
        if (queueLength != null) {
            map.put("queue_length", queueLength);
        }
        if (maxConcurrent != null) {
            map.put("max_concurrent", maxConcurrent);
        }
        return map;
    }
}
