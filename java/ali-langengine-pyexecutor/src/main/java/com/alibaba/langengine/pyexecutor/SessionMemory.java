// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Remembers which sessions there were. So a call that makes a session again can say that its state was lost when its
 * host ended: a host remembers why a session ended, but only until its own end.
 */
final class SessionMemory {
    private static final int REMEMBERED = 10000;

    private final Map<String, Boolean> known = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
            return size() > REMEMBERED;
        }
    };

    synchronized void note(String id) {
        known.remove(id);
        known.put(id, true);
    }

    /** Its state is meant to be gone. */
    synchronized void forget(String id) {
        known.remove(id);
    }

    synchronized void forgetAll() {
        known.clear();
    }

    /** Notes a session's answer: why the state of before is gone, or null. `told` is what the host knows of it. */
    synchronized String answered(String id, boolean created, String told) {
        boolean lost = created && told == null && known.containsKey(id);
        note(id);
        return lost ? "host_restart" : told;
    }
}
