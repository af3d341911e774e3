/** LangChain4j. */
package com.alibaba.langengine.pyexecutor.langchain4j;
