package com.alibaba.langengine.pyexecutor.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolMemoryId;
import dev.langchain4j.memory.chat.MessageWindowChatMemory;
import dev.langchain4j.service.AiServices;
import dev.langchain4j.service.MemoryId;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** LangChain4j's own loop: the model's program calls the application's tools. */
class ProgramToolTest {
    private final List<String> seen = new ArrayList<>();

    private final EchoModel model = new EchoModel();

    interface Assistant {
        String chat(@MemoryId Object conversation, @dev.langchain4j.service.UserMessage String code);
    }

    public record Weather(String city, int degrees) {
    }

    /** The tools of an application. */
    public final class Tools {
        @Tool("The weather of a city.")
        public Weather weather(@P("its name") String city, @ToolMemoryId Object conversation) {
            seen.add(city + " for " + conversation);
            return new Weather(city, city.length());
        }

        @Tool("Fails.")
        public String fails() {
            throw new IllegalStateException("no such thing");
        }
    }

    private String said(Assistant assistant, Object conversation, String code) {
        assistant.chat(conversation, code);
        return model.lastResult().text();
    }

    @Test
    void oneProgramCallsManyToolsAndGetsTheirValues() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            Assistant assistant = AiServices.builder(Assistant.class).chatModel(model)
                    .tools(PyExecutorProgramTool.of(PyExecutorCodeExecutionEngine.perConversation(executor), PyExecutorProgramTool.toolsOf(new Tools())))
                    .chatMemoryProvider(id -> MessageWindowChatMemory.builder().id(id).maxMessages(20).build()).build();
            assertEquals("9", said(assistant, "ann", "x = sum(weather(c)['degrees'] for c in ['Rome', 'Paris']); x"));
            assertEquals("10", said(assistant, "ann", "x + 1"));
            assertEquals(List.of("Rome for ann", "Paris for ann"), seen);
            assertTrue(said(assistant, "ann", "fails()").contains("no such thing"));
            assertTrue(said(assistant, "bob", "weather()").contains("city"));
            assertTrue(model.tools.get(0).description().contains("\n- weather(city: str): The weather of a city."), model.tools.get(0).description());
            assertEquals(List.of("code"), List.copyOf(model.tools.get(0).parameters().properties().keySet()));
        }
    }
}
