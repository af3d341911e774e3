package com.alibaba.langengine.pyexecutor.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorAutoConfiguration;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.memory.chat.MessageWindowChatMemory;
import dev.langchain4j.service.AiServices;
import dev.langchain4j.service.MemoryId;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

/** LangChain4j's own loop with a model that runs the user's message as code. */
class AiServiceTest {
    private final EchoModel model = new EchoModel();

    interface Assistant {
        String chat(@MemoryId Object conversation, @dev.langchain4j.service.UserMessage String code);
    }

    private Assistant assistant(Object tool) {
        return AiServices.builder(Assistant.class).chatModel(model).tools(tool)
                .chatMemoryProvider(id -> MessageWindowChatMemory.builder().id(id).maxMessages(20).build()).build();
    }

    private List<Content> said(Assistant assistant, Object conversation, String code) {
        assistant.chat(conversation, code);
        return model.lastResult().contents();
    }

    @Test
    void eachConversationHasItsVariables() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            Assistant assistant = assistant(PyExecutorCodeExecutionEngine.perConversation(executor));
            said(assistant, "ann@example.com", "x = 1");
            said(assistant, 42, "x = 2");
            assertEquals(List.of(TextContent.from("1")), said(assistant, "ann@example.com", "x"));
            assertEquals(List.of(TextContent.from("2")), said(assistant, 42, "x"));
            assertEquals(2, ((Number) executor.stats().get("sessions")).intValue());
            assertEquals(List.of("code"), List.copyOf(model.tools.get(0).parameters().properties().keySet()));
        }
    }

    @Test
    void imagesReachTheModel() {
        String png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
        try (PyExecutor executor = new PyExecutor(null)) {
            Assistant assistant = assistant(new PyExecutorImageTool(new PyExecutorCodeExecutionEngine(executor)));
            List<Content> contents = said(assistant, "c", "import base64\nclass Picture:\n    def _repr_png_(self):\n        return base64.b64decode('"
                    + png + "')\ndisplay(Picture())\n6 * 7");
            assertTrue(assertInstanceOf(TextContent.class, contents.get(0)).text().contains("42"), contents.toString());
            ImageContent image = assertInstanceOf(ImageContent.class, contents.get(1));
            assertEquals(png, image.image().base64Data());
            assertEquals("image/png", image.image().mimeType());
            assertEquals(List.of(TextContent.from("1")), said(assistant, "c", "1"));
        }
    }

    @Test
    void springMakesTheEngine() {
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext()) {
            context.getEnvironment().getPropertySources().addFirst(
                    new MapPropertySource("test", Map.of("ali.langengine.pyexecutor.tool.session-per-conversation", "true")));
            context.register(PyExecutorAutoConfiguration.class, PyExecutorLangChain4jAutoConfiguration.class);
            context.refresh();
            PyExecutorCodeExecutionEngine engine = context.getBean(PyExecutorCodeExecutionEngine.class);
            engine.pythonExecute("x = 3", "c");
            assertEquals("3", engine.pythonExecute("x", "c"));
            assertTrue(engine.pythonExecute("x", "d").contains("NameError"));
        }
    }
}
