// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.langchain4j;

import com.alibaba.langengine.pyexecutor.PyExecutionOptions;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.agent.tool.ToolSpecifications;
import dev.langchain4j.internal.Json;
import dev.langchain4j.internal.JsonSchemaElementUtils;
import dev.langchain4j.model.chat.request.json.JsonObjectSchema;
import dev.langchain4j.service.tool.DefaultToolExecutor;
import dev.langchain4j.service.tool.ToolExecutor;
import java.lang.reflect.Method;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;

/**
 * The tool {@code python_execute}. Its code can call other tools as functions. So one program of the model replaces many tool
 * calls. Pass it to {@code AiServices.builder(...).tools(map)}, with {@code langchain4j} on the class path. The other tools run
 * in this program, with its authority, on arguments that a script gives: docs/tools.md, "Security".
 */
public final class PyExecutorProgramTool {
    private PyExecutorProgramTool() {
    }

    /**
     * The tool.
     *
     * @param engine runs the code, and says which session a call has
     * @param tools the tools that the code may call
     * @return one entry, whose description lists the functions
     */
    public static Map<ToolSpecification, ToolExecutor> of(PyExecutorCodeExecutionEngine engine, Map<ToolSpecification, ToolExecutor> tools) {
        ToolSpecification plain = ToolSpecifications.toolSpecificationsFrom(engine).get(0);
        ToolSpecification specification = ToolSpecification.builder().name(plain.name()).parameters(plain.parameters())
                .description(plain.description() + options(tools, null).describeTools()).build();
        return Map.of(specification, (request, memoryId) ->
                engine.run(memoryId, String.valueOf(Json.fromJson(request.arguments(), Map.class).get("code")), options(tools, memoryId)).toText());
    }

    /**
     * The tools of objects, as {@code AiServices.tools(Object...)} finds them.
     *
     * @param objects their methods with {@link Tool} become tools
     * @return the tools, for {@link #of}
     */
    public static Map<ToolSpecification, ToolExecutor> toolsOf(Object... objects) {
        Map<ToolSpecification, ToolExecutor> tools = new LinkedHashMap<>();
        for (Object object : objects) {
            for (Method method : object.getClass().getDeclaredMethods()) {
                if (method.isAnnotationPresent(Tool.class)) {
                    tools.put(ToolSpecifications.toolSpecificationFrom(method), new DefaultToolExecutor(object, method));
                }
            }
        }
        return tools;
    }

    private static PyExecutionOptions options(Map<ToolSpecification, ToolExecutor> tools, Object memoryId) {
        PyExecutionOptions options = new PyExecutionOptions();
        tools.forEach((tool, executor) -> options.putTextTool(tool.name(), tool.description(), schema(tool.parameters()),
                arguments -> executor.execute(ToolExecutionRequest.builder().id(UUID.randomUUID().toString()).name(tool.name())
                        .arguments(arguments).build(), memoryId)));
        return options;
    }

    private static String schema(JsonObjectSchema parameters) {
        return parameters == null ? null : Json.toJson(JsonSchemaElementUtils.toMap(parameters));
    }
}
