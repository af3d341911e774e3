package com.alibaba.langengine.pyexecutor;

/** {@link CallsTest} on a fleet. */
class FleetCallsTest extends CallsTest {
    @Override
    Host host() {
        return new Fleet.Remote();
    }
}
