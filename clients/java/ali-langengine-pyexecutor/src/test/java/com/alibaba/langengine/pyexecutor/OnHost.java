package com.alibaba.langengine.pyexecutor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.TestInstance;

/** Tests that run on this machine, and in a subclass also on a server. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class OnHost {
    final Host host = host();

    Host host() {
        return new Host.Local();
    }

    @AfterAll
    void endHost() throws Exception {
        host.close();
    }
}
