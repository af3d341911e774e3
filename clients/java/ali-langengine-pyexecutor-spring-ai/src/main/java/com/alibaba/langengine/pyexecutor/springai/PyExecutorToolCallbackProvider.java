// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.springai;

import com.alibaba.langengine.pyexecutor.PyExecutionOptions;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutionTimeoutException;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import java.lang.reflect.Type;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.springframework.ai.chat.model.ToolContext;
import org.springframework.ai.content.Media;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.ai.tool.ToolCallbackProvider;
import org.springframework.ai.tool.annotation.Tool;
import org.springframework.ai.tool.annotation.ToolParam;
import org.springframework.ai.tool.definition.ToolDefinition;
import org.springframework.ai.tool.execution.ToolCallResultConverter;
import org.springframework.ai.tool.metadata.ToolMetadata;
import org.springframework.ai.tool.method.MethodToolCallbackProvider;
import org.springframework.core.io.ByteArrayResource;
import org.springframework.util.MimeType;

/**
 * Spring AI's tool {@code python_execute}. The model gets a text: output, traceback with hint, last value. The result
 * of a Spring AI tool is a String, so it can't have images. They are added to the collection that the caller puts into the tool
 * context as {@link #IMAGES}.
 */
public class PyExecutorToolCallbackProvider implements ToolCallbackProvider {
    /** The key of the tool context whose value is the conversation: that of Spring AI's {@code ChatMemory.CONVERSATION_ID}. */
    public static final String CONVERSATION_ID = "chat_memory_conversation_id";
    /**
     * The key of the tool context whose value is a {@code Collection<Media>}: the images that scripts display are added
     * to it, for a user message after the tool's.
     */
    public static final String IMAGES = "pyexec_images";

    private static final List<String> TYPES = List.of("image/png", "image/jpeg");
    private static final String DESCRIPTION = "Runs Python code in a sandbox and returns its output, and the value of the last expression";
    private static final String CODE = "Python code; the last expression's value is returned";

    private final PyExecutor executor;
    private final String sessionId;
    private final boolean perConversation;
    private final List<ToolCallback> tools;

    /**
     * A tool that keeps nothing between calls.
     *
     * @param executor runs the code; the caller closes it
     */
    public PyExecutorToolCallbackProvider(PyExecutor executor) {
        this(executor, null);
    }

    /**
     * A tool that keeps the variables of a session.
     *
     * @param executor runs the code; sessions must be on; the caller closes it
     * @param sessionId the session; null: none
     */
    public PyExecutorToolCallbackProvider(PyExecutor executor, String sessionId) {
        this(executor, sessionId, false, List.of());
    }

    private PyExecutorToolCallbackProvider(PyExecutor executor, String sessionId, boolean perConversation, List<ToolCallback> tools) {
        this.executor = Objects.requireNonNull(executor, "executor");
        this.sessionId = sessionId;
        this.perConversation = perConversation;
        this.tools = tools;
    }

    /**
     * A tool that keeps the variables of each conversation in a session of its own: the value of {@link #CONVERSATION_ID} in
     * the tool context is the session's id. A call without it keeps nothing.
     *
     * @param executor runs the code; sessions must be on; the caller closes it
     * @return a new one
     */
    public static PyExecutorToolCallbackProvider perConversation(PyExecutor executor) {
        return new PyExecutorToolCallbackProvider(executor, null, true, List.of());
    }

    /**
     * Lets the code call other tools as functions. So one program of the model replaces many tool calls. The description lists
     * these tools. They run in this program, with its authority, on arguments that a script gives:
     * docs/tools.md, "Security".
     *
     * @param others the tools
     * @return a new one, with these tools too
     */
    public PyExecutorToolCallbackProvider offering(ToolCallback... others) {
        return new PyExecutorToolCallbackProvider(executor, sessionId, perConversation,
                Stream.concat(tools.stream(), Stream.of(others)).toList());
    }

    /**
     * Offers tools of Spring AI to the script of one execution.
     *
     * @param options of the execution
     * @param context is given to the tools; null: none
     * @param tools the tools that the script may call by the names in their definitions
     */
    public static void putTools(PyExecutionOptions options, ToolContext context, Collection<? extends ToolCallback> tools) {
        for (ToolCallback tool : tools) {
            ToolDefinition definition = tool.getToolDefinition();
            options.putTextTool(definition.name(), definition.description(), definition.inputSchema(),
                    arguments -> context == null ? tool.call(arguments) : tool.call(arguments, context));
        }
    }

    @Override
    public ToolCallback[] getToolCallbacks() {
        return new ToolCallback[] {new InAnyContext(callback(new PythonExecute()), callback(new PythonExecuteInContext()), description())};
    }

    /** Returns the description for the model, with the functions that its code may call. */
    private String description() {
        PyExecutionOptions options = new PyExecutionOptions();
        putTools(options, null, tools);
        return DESCRIPTION + options.describeTools();
    }

    private static ToolCallback callback(Object tool) {
        return MethodToolCallbackProvider.builder().toolObjects(tool).build().getToolCallbacks()[0];
    }

    private String run(String code, Map<String, Object> context) throws Exception {
        Object conversation = perConversation ? context.get(CONVERSATION_ID) : null;
        PyExecutionOptions options = new PyExecutionOptions();
        putTools(options, context.isEmpty() ? null : new ToolContext(context), tools);
        PyExecutionResult result = run(conversation == null ? sessionId : conversation.toString(), code, options);
        if (context.get(IMAGES) instanceof Collection<?>) {
            addImages(result, context);
        }
        return result.toText();
    }

    private PyExecutionResult run(String session, String code, PyExecutionOptions options) throws Exception {
        try {
            return session == null ? executor.executeOnce(code, options) : executor.execute(session, code, options);
        } catch (PyExecutionTimeoutException e) {
            return e.getResult();
        }
    }

    @SuppressWarnings("unchecked")
    private static void addImages(PyExecutionResult result, Map<String, Object> context) {
        Collection<Media> images = (Collection<Media>) context.get(IMAGES);
        for (PyExecutionResult.Display display : result.getDisplays()) {
            TYPES.stream().filter(type -> display.data().get(type) instanceof String).findFirst().ifPresent(type -> images.add(
                    Media.builder().mimeType(MimeType.valueOf(type)).data(new ByteArrayResource(display.bytes(type))).build()));
        }
    }

    /** Returns the text unchanged. The default converter makes a JSON string of a text that is not JSON. */
    public static final class PlainText implements ToolCallResultConverter {
        /** Made by Spring AI. */
        public PlainText() {
        }

        @Override
        public String convert(Object result, Type returnType) {
            return (String) result;
        }
    }

    /** There are two methods, because a method with a context can't be called without one. */
    private static final class InAnyContext implements ToolCallback {
        private final ToolCallback without;
        private final ToolCallback with;
        private final ToolDefinition definition;

        InAnyContext(ToolCallback without, ToolCallback with, String description) {
            this.without = without;
            this.with = with;
            ToolDefinition made = without.getToolDefinition();
            this.definition = ToolDefinition.builder().name(made.name()).description(description).inputSchema(made.inputSchema()).build();
        }

        @Override
        public ToolDefinition getToolDefinition() {
            return definition;
        }

        @Override
        public ToolMetadata getToolMetadata() {
            return without.getToolMetadata();
        }

        @Override
        public String call(String input) {
            return without.call(input);
        }

        @Override
        public String call(String input, ToolContext context) {
            return context == null || context.getContext().isEmpty() ? without.call(input) : with.call(input, context);
        }
    }

    /** The object whose method is the tool, as Spring AI needs it. */
    private final class PythonExecute {
        @Tool(name = "python_execute", resultConverter = PlainText.class, description = DESCRIPTION)
        public String run(@ToolParam(description = CODE) String code) throws Exception {
            return PyExecutorToolCallbackProvider.this.run(code, Map.of());
        }
    }

    /** The same with a context, which the model does not see. */
    private final class PythonExecuteInContext {
        @Tool(name = "python_execute", resultConverter = PlainText.class, description = DESCRIPTION)
        public String run(@ToolParam(description = CODE) String code, ToolContext context) throws Exception {
            return PyExecutorToolCallbackProvider.this.run(code, context.getContext());
        }
    }
}
