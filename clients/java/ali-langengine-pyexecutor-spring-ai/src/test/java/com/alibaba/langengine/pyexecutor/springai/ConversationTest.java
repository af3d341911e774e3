package com.alibaba.langengine.pyexecutor.springai;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorAutoConfiguration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.model.ToolContext;
import org.springframework.ai.content.Media;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

/** The tool context, which has the conversation and the list for images; and the beans. Runs with Spring AI 1.1 and 2.0. */
class ConversationTest {
    private static String run(ToolCallback tool, String conversation, String code) {
        return tool.call("{\"code\": \"" + code + "\"}", new ToolContext(Map.of(PyExecutorToolCallbackProvider.CONVERSATION_ID, conversation)));
    }

    @Test
    void eachConversationHasItsVariables() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            ToolCallback tool = PyExecutorToolCallbackProvider.perConversation(executor).getToolCallbacks()[0];
            run(tool, "tenant/ann", "x = 1");
            run(tool, "bob", "x = 2");
            assertEquals("1", run(tool, "tenant/ann", "x"));
            assertEquals("2", run(tool, "bob", "x"));
            assertTrue(tool.call("{\"code\": \"x\"}").contains("NameError"));
            assertTrue(tool.call("{\"code\": \"x\"}", new ToolContext(Map.of("other", 1))).contains("NameError"));
            assertEquals(2, ((Number) executor.stats().get("sessions")).intValue());
            assertFalse(tool.getToolDefinition().inputSchema().toLowerCase().contains("context"), tool.getToolDefinition().inputSchema());
        }
    }

    @Test
    void theConversationsKeyIsSpringAis() throws Exception {
        // The class is in spring-ai-model of some releases only.
        try {
            assertEquals(Class.forName("org.springframework.ai.chat.memory.ChatMemory").getField("CONVERSATION_ID").get(null),
                    PyExecutorToolCallbackProvider.CONVERSATION_ID);
        } catch (ClassNotFoundException e) {
            org.junit.jupiter.api.Assumptions.abort("there is no ChatMemory: " + e);
        }
    }

    @Test
    void imagesAreHandedToTheCaller() {
        String png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
        List<Media> images = new ArrayList<>();
        try (PyExecutor executor = new PyExecutor(null)) {
            ToolCallback tool = new PyExecutorToolCallbackProvider(executor).getToolCallbacks()[0];
            String said = tool.call("{\"code\": \"import base64\\nclass Picture:\\n    def _repr_png_(self):\\n        return base64.b64decode('" + png
                    + "')\\ndisplay(Picture())\\n6 * 7\"}", new ToolContext(Map.of(PyExecutorToolCallbackProvider.IMAGES, images)));
            assertTrue(said.contains("42"), said);
        }
        assertEquals(1, images.size());
        assertEquals("image/png", images.get(0).getMimeType().toString());
        assertArrayEquals(Base64.getDecoder().decode(png), images.get(0).getDataAsByteArray());
    }

    @Test
    void springMakesTheProvider() {
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext()) {
            context.getEnvironment().getPropertySources().addFirst(
                    new MapPropertySource("test", Map.of("ali.langengine.pyexecutor.tool.session-per-conversation", "true")));
            context.register(PyExecutorAutoConfiguration.class, PyExecutorSpringAiAutoConfiguration.class);
            context.refresh();
            ToolCallback tool = context.getBean(PyExecutorToolCallbackProvider.class).getToolCallbacks()[0];
            run(tool, "c", "x = 3");
            assertEquals("3", run(tool, "c", "x"));
        }
    }
}
