// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.langchain4j;

import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolMemoryId;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.TextContent;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * The tool {@code python_execute} whose result has the images that the script displayed beside the text, for
 * {@code AiServices.builder(...).tools(tool)}. It needs a LangChain4j whose tools may return {@link Content} (tested with
 * 1.19) and a model that takes images in a tool's result.
 */
public class PyExecutorImageTool {
    private static final List<String> TYPES = List.of("image/png", "image/jpeg");

    private final PyExecutorCodeExecutionEngine engine;

    /** @param engine that runs the code, and says which session a call has */
    public PyExecutorImageTool(PyExecutorCodeExecutionEngine engine) {
        this.engine = Objects.requireNonNull(engine, "engine");
    }

    /**
     * The tool.
     *
     * @param code Python
     * @param memoryId the conversation; LangChain4j gives it, the model does not see it
     * @return a text, and the images in the order in which they were displayed
     */
    @Tool(name = "python_execute", value = "Runs Python code in a sandbox and returns its output, the value of the last expression, and"
            + " the images that it displays")
    public List<Content> pythonExecute(@P("Python code; the last expression's value is returned") String code, @ToolMemoryId Object memoryId) {
        PyExecutionResult result = engine.run(memoryId, code, null);
        List<Content> contents = new ArrayList<>();
        contents.add(TextContent.from(result.toText()));
        for (PyExecutionResult.Display display : result.getDisplays()) {
            TYPES.stream().filter(type -> display.data().get(type) instanceof String).findFirst()
                    .ifPresent(type -> contents.add(ImageContent.from(((String) display.data().get(type)).replaceAll("\\s", ""), type)));
        }
        return contents;
    }
}
