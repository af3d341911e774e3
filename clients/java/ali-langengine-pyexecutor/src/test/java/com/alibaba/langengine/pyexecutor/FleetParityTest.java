package com.alibaba.langengine.pyexecutor;

/** {@link ParityTest} on a fleet. */
class FleetParityTest extends ParityTest {
    @Override
    Host host() {
        return new Fleet.Remote();
    }
}
