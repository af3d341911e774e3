package com.alibaba.langengine.pyexecutor;

/** {@link CallsTest} on a server. */
class RemoteCallsTest extends CallsTest {
    @Override
    Host host() {
        return new Serve.Remote();
    }
}
