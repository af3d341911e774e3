// SPDX-License-Identifier: Apache-2.0
/** LangChain4j. */
package com.alibaba.langengine.pyexecutor.langchain4j;
