package com.alibaba.langengine.pyexecutor.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolMemoryId;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.memory.chat.MessageWindowChatMemory;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.service.AiServices;
import dev.langchain4j.service.MemoryId;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** LangChain4j's own loop: the model's program calls the application's tools. */
class ProgramToolTest {
    private final List<ToolSpecification> tools = new ArrayList<>();
    private final List<String> seen = new ArrayList<>();

    /** Runs what the user says, and says what the tool said. */
    private final ChatModel model = new ChatModel() {
        @Override
        public ChatResponse doChat(ChatRequest request) {
            tools.addAll(request.toolSpecifications());
            ChatMessage last = request.messages().get(request.messages().size() - 1);
            if (last instanceof ToolExecutionResultMessage result) {
                return ChatResponse.builder().aiMessage(AiMessage.from(result.text())).build();
            }
            return ChatResponse.builder().aiMessage(AiMessage.from(ToolExecutionRequest.builder().id("1").name("python_execute")
                    .arguments("{\"code\": \"" + ((UserMessage) last).singleText() + "\"}").build())).build();
        }
    };

    interface Assistant {
        String chat(@MemoryId Object conversation, @dev.langchain4j.service.UserMessage String code);
    }

    public record Weather(String city, int degrees) {
    }

    /** What an application has for its model. */
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

    @Test
    void oneProgramCallsManyToolsAndGetsTheirValues() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            Assistant assistant = AiServices.builder(Assistant.class).chatModel(model)
                    .tools(PyExecutorProgramTool.of(PyExecutorCodeExecutionEngine.perConversation(executor), PyExecutorProgramTool.toolsOf(new Tools())))
                    .chatMemoryProvider(id -> MessageWindowChatMemory.builder().id(id).maxMessages(20).build()).build();
            assertEquals("9", assistant.chat("ann", "x = sum(weather(c)['degrees'] for c in ['Rome', 'Paris']); x"));
            assertEquals("10", assistant.chat("ann", "x + 1"));
            assertEquals(List.of("Rome for ann", "Paris for ann"), seen);
            assertTrue(assistant.chat("ann", "fails()").contains("no such thing"));
            assertTrue(assistant.chat("bob", "weather()").contains("city"));
            assertTrue(tools.get(0).description().contains("\n- weather(city: str): The weather of a city."), tools.get(0).description());
            assertEquals(List.of("code"), List.copyOf(tools.get(0).parameters().properties().keySet()));
        }
    }
}
