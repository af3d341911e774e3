package com.alibaba.langengine.pyexecutor;

/** Where the executors of a test run their scripts: the same tests hold for both. */
interface Host {
    PyExecutor executor(PyExecutionPolicy policy, SessionConfig sessions) throws Exception;

    /** How many scripts run now. */
    int running(PyExecutor executor) throws Exception;

    /** Ends what it started. */
    void close() throws Exception;

    /** On this machine, below this process. */
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
