// SPDX-License-Identifier: Apache-2.0
/** Spring Boot 3 and 4: an executor from {@code ali.langengine.pyexecutor.*}, its health and its meters. */
package com.alibaba.langengine.pyexecutor.spring;
