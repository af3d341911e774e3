// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.List;

/**
 * An undo of a session.
 *
 * @param to the execution count of the call before which the session is now
 * @param checkpoints the calls before which states are still kept
 */
public record Undone(long to, List<Long> checkpoints) {
}
