// SPDX-License-Identifier: Apache-2.0
/**
 * Runs Python that nobody has reviewed, isolated by the kernel: {@link com.alibaba.langengine.pyexecutor.PyExecutor}.
 */
package com.alibaba.langengine.pyexecutor;
