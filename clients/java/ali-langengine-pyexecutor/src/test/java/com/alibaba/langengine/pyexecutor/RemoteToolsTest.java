package com.alibaba.langengine.pyexecutor;

/** {@link ToolsTest} at a server. */
class RemoteToolsTest extends ToolsTest {
    @Override
    Host host() {
        return new Serve.Remote();
    }
}
