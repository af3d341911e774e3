package com.alibaba.langengine.pyexecutor;

/** The machine on which the executors of a test run their scripts: this one, or that of a server. */
interface Host {
    PyExecutor executor(PyExecutionPolicy policy, SessionConfig sessions) throws Exception;

    /** Returns how many scripts are running. */
    int running(PyExecutor executor) throws Exception;

    /** Ends everything that this host has started. */
    void close() throws Exception;

    /** Scripts run on this machine, below this process. */
    final class Local implements Host {
        @Override
        public PyExecutor executor(PyExecutionPolicy policy, SessionConfig sessions) {
            return new PyExecutor(policy, sessions);
        }

        @Override
        public int running(PyExecutor executor) {
            return ((Number) executor.stats().get("running")).intValue();
        }

        @Override
        public void close() {
        }
    }
}
