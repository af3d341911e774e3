// SPDX-License-Identifier: Apache-2.0
/** Spring AI Alibaba. */
package com.alibaba.langengine.pyexecutor.springaialibaba;
