// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.function.Consumer;

/** Calls the tools of one execution, and makes the answers for its script. */
final class ToolCalls {
    /** Bytes of JSON that a result, or an error's data, may have: docs/tools.md. */
    private static final int VALUE_MAX = 8 << 20;

    private final Map<String, PyTool> tools;
    private final AsyncExecutor executor;

    ToolCalls(Map<String, PyTool> tools, AsyncExecutor executor) {
        this.tools = tools;
        this.executor = executor;
    }

    /** The answer of a call: one of these three is not null. */
    record Answer(String resultJson, String denial, Failure failure) {
        static Answer result(Object value) {
            return new Answer(json("result", value), null, null);
        }

        static Answer denial(String reason) {
            return new Answer(null, reason == null ? "no reason given" : reason, null);
        }

        static Answer failure(String message, Object data) {
            return new Answer(null, null, new Failure(message, data == null ? null : json("data", data)));
        }

        private static String json(String what, Object value) {
            String text = Json.write(InputValues.of(value));
            if (text.length() > VALUE_MAX || text.length() > VALUE_MAX / 3 && text.getBytes(StandardCharsets.UTF_8).length > VALUE_MAX) {
                throw new IllegalArgumentException("the tool's " + what + " is longer than 8 MiB of JSON");
            }
            return text;
        }
    }

    /** An error of a tool. */
    record Failure(String message, String dataJson) {
    }

    /**
     * Calls a tool on a thread of the executor, and passes its answer on. If the tool returns a CompletionStage, the answer is
     * passed on when this stage completes.
     *
     * @param message the message of the server: name and arguments
     * @param answered takes the answer
     */
    void call(Map<String, Object> message, Consumer<Answer> answered) {
        PyTool tool = tools.get(String.valueOf(message.get("name")));
        Object arguments = message.get("arguments");
        if (tool == null || !(arguments instanceof Map)) {
            answered.accept(Answer.failure("this program has no tool '" + message.get("name") + "'", null));
        } else if (!executor.tryExecute(() -> run(tool, arguments, answered))) {
            answered.accept(Answer.failure("the caller's executor accepts no more tasks", null));
        }
    }

    @SuppressWarnings("unchecked")
    private static void run(PyTool tool, Object arguments, Consumer<Answer> answered) {
        Object value;
        try {
            value = tool.function().apply((Map<String, Object>) arguments);
        } catch (Throwable e) {
            answered.accept(answer(null, e));
            return;
        }
        if (value instanceof CompletionStage<?> stage) {
            stage.whenComplete((later, failure) -> answered.accept(answer(later, failure)));
        } else {
            answered.accept(answer(value, null));
        }
    }

    private static Answer answer(Object value, Throwable thrown) {
        Throwable failure = thrown instanceof CompletionException && thrown.getCause() != null ? thrown.getCause() : thrown;
        try {
            if (failure instanceof PyToolDeniedException) {
                return Answer.denial(failure.getMessage());
            }
            return failure == null ? Answer.result(value)
                    : Answer.failure(text(failure), failure instanceof PyToolException known ? known.getData() : null);
        } catch (IllegalArgumentException e) {
            return Answer.failure(text(e), null);
        }
    }

    private static String text(Throwable failure) {
        return failure.getMessage() == null ? failure.getClass().getSimpleName() : failure.getMessage();
    }

    /** Returns the tools in the form of a request. */
    static void put(Map<String, Object> request, Map<String, PyTool> tools) {
        if (!tools.isEmpty()) {
            request.put("tools", tools.values().stream().map(PyTool::toMap).toList());
        }
    }

    /** Returns the answer in the form for HTTP. */
    static String httpBody(Answer answer) {
        if (answer.resultJson() != null) {
            return "{\"result\":" + answer.resultJson() + "}";
        }
        if (answer.denial() != null) {
            return Json.write(Map.of("deny", answer.denial()));
        }
        return "{\"error\":" + error(answer.failure(), new LinkedHashMap<>()) + "}";
    }

    /** An error object: the members, the message and the data. */
    static String error(Failure failure, Map<String, Object> members) {
        members.put("message", failure.message());
        String text = Json.write(members);
        return failure.dataJson() == null ? text : text.substring(0, text.length() - 1) + ",\"data\":" + failure.dataJson() + "}";
    }
}
