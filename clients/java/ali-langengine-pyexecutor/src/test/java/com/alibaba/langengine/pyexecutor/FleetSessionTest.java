package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** {@link SessionTest} on a fleet. */
class FleetSessionTest extends SessionTest {
    @Override
    Host host() {
        return new Fleet.Remote();
    }

    /** A node begins the calls of a session one after another, and forks are among them. */
    @Override
    void forkBusy(PyExecutor busy) throws Exception {
        CompletableFuture<Integer> forked = CompletableFuture.supplyAsync(() -> busy.fork("s", 2).size());
        busy.stats();       // does not wait
        assertFalse(forked.isDone());
        busy.interrupt("s");
        assertEquals(2, forked.get(60, TimeUnit.SECONDS));
    }
}
