package com.alibaba.langengine.pyexecutor;

/** {@link ToolsTest} on a fleet. */
class FleetToolsTest extends ToolsTest {
    @Override
    Host host() {
        return new Fleet.Remote();
    }
}
