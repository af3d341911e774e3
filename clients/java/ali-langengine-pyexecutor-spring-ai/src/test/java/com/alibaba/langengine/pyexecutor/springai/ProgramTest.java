package com.alibaba.langengine.pyexecutor.springai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.model.ToolContext;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.ai.tool.annotation.Tool;
import org.springframework.ai.tool.annotation.ToolParam;
import org.springframework.ai.tool.definition.ToolDefinition;
import org.springframework.ai.tool.method.MethodToolCallbackProvider;

/** Tools of Spring AI as functions of the code that the model writes. Run under Spring AI 1.1 and 2.0. */
class ProgramTest {
    private final List<String> seen = new ArrayList<>();

    public record Weather(String city, int degrees) {
    }

    /** The tools of an application. */
    public final class Tools {
        @Tool(description = "The weather of a city.")
        public Weather weather(@ToolParam(description = "its name") String city, @ToolParam(required = false) Integer days, ToolContext context) {
            seen.add(city + " for " + context.getContext().get("user"));
            return new Weather(city, city.length());
        }

        @Tool(description = "Fails.")
        public String fails() {
            throw new IllegalStateException("no such thing");
        }
    }

    private final ToolCallback[] tools = MethodToolCallbackProvider.builder().toolObjects(new Tools()).build().getToolCallbacks();

    private static String run(ToolCallback tool, String code) {
        return tool.call("{\"code\": \"" + code + "\"}", new ToolContext(Map.of("user", "ann")));
    }

    @Test
    void oneProgramCallsManyToolsAndGetsTheirValues() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            ToolCallback tool = new PyExecutorToolCallbackProvider(executor, "s").offering(tools).getToolCallbacks()[0];
            String description = tool.getToolDefinition().description();
            assertTrue(description.contains("\n- weather(city: str, days: int = ...): The weather of a city."), description);
            assertTrue(description.startsWith("Runs Python code"), description);
            assertEquals("14", run(tool, "sum(weather(c)['degrees'] for c in ['Rome', 'Paris', 'Paris'])"));
            assertEquals(List.of("Rome for ann", "Paris for ann", "Paris for ann"), seen);
            assertTrue(run(tool, "fails()").contains("no such thing"));
            assertTrue(run(tool, "weather()").contains("city"));
        }
    }

    @Test
    void aNameThatIsNoIdentifierIsMapped() {
        ToolCallback odd = new ToolCallback() {
            @Override
            public ToolDefinition getToolDefinition() {
                return ToolDefinition.builder().name("get-text").description("A text.").inputSchema("{\"type\": \"object\"}").build();
            }

            @Override
            public String call(String input) {
                return "plain text";
            }
        };
        try (PyExecutor executor = new PyExecutor(null)) {
            ToolCallback tool = new PyExecutorToolCallbackProvider(executor).offering(odd, odd).getToolCallbacks()[0];
            assertEquals("['plain text', 'plain text']", tool.call("{\"code\": \"[get_text(), get_text_2()]\"}"));
        }
    }
}
