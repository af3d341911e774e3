/** Spring AI. */
package com.alibaba.langengine.pyexecutor.springai;
