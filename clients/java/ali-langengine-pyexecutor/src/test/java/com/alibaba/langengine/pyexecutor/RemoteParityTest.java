package com.alibaba.langengine.pyexecutor;

/** {@link ParityTest} on a server. */
class RemoteParityTest extends ParityTest {
    @Override
    Host host() {
        return new Serve.Remote();
    }
}
