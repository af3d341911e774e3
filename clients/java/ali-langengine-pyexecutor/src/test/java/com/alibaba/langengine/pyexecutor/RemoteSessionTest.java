package com.alibaba.langengine.pyexecutor;

/** {@link SessionTest} on a server. */
class RemoteSessionTest extends SessionTest {
    @Override
    Host host() {
        return new Serve.Remote();
    }
}
