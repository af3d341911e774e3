package com.alibaba.langengine.pyexecutor;

/** {@link ToolsTest} on a server. */
class RemoteToolsTest extends ToolsTest {
    @Override
    Host host() {
        return new Serve.Remote();
    }
}
