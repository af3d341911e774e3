/** Spring AI Alibaba. */
package com.alibaba.langengine.pyexecutor.springaialibaba;
