package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutorException;
import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

/** Says in place of a stack trace which layer or interpreter this machine lacks, and how to get it. */
public class PyExecutorFailureAnalyzer extends AbstractFailureAnalyzer<PyExecutorException> {

    /** Made by Spring. */
    public PyExecutorFailureAnalyzer() {
    }

    @Override
    protected FailureAnalysis analyze(Throwable rootFailure, PyExecutorException cause) {
        String action = cause.getHint() == null || cause.getHint().isEmpty() ? "" : cause.getHint() + "\n";
        return new FailureAnalysis("Python can't be run in a sandbox here (" + cause.getCode() + "): " + cause.getMessage(),
                action + "To start without it, set ali.langengine.pyexecutor.verify-at-startup=false: then each call fails.", cause);
    }
}
