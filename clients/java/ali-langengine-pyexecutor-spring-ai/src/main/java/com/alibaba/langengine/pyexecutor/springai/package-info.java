// SPDX-License-Identifier: Apache-2.0
/** Spring AI. */
package com.alibaba.langengine.pyexecutor.springai;
