// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Remembers the ids of earlier sessions. A host remembers why a session ended, but only until the host itself ends. With these
 * ids, a call that makes such a session again can report that its state was lost when its host ended.
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

    /** The caller ended the session, so a later loss of its state is not reported. */
    synchronized void forget(String id) {
        known.remove(id);
    }

    synchronized void forgetAll() {
        known.clear();
    }

    /** Notes an answer of a session. Returns why its earlier state was lost, or null. `told` is the reason that the host gave. */
    synchronized String answered(String id, boolean created, String told) {
        boolean lost = created && told == null && known.containsKey(id);
        note(id);
        return lost ? "host_restart" : told;
    }
}
