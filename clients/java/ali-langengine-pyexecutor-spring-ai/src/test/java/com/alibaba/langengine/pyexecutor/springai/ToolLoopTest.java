package com.alibaba.langengine.pyexecutor.springai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.model.ChatModel;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.model.Generation;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.model.tool.ToolCallingChatOptions;
import org.springframework.ai.model.tool.ToolCallingManager;
import org.springframework.ai.model.tool.ToolExecutionResult;

/** Spring AI's tool loop with a model whose messages are fixed. The model corrects its code as the hint says. */
class ToolLoopTest {
    /** Each message of the model depends only on the tool's answer to the message before. */
    private static final class ScriptedModel implements ChatModel {
        @Override
        public ChatResponse call(Prompt prompt) {
            List<Message> messages = prompt.getInstructions();
            if (!(messages.get(messages.size() - 1) instanceof ToolResponseMessage answered)) {
                return run("1", "data = [1, 2, 3]\\nimport numpy\\nnumpy.mean(data)");
            }
            String answer = answered.getResponses().get(0).responseData();
            if (answer.contains("import 'numpy' not allowed. Use statistics")) {
                return run("2", "import statistics\\nstatistics.mean(data)");
            }
            return new ChatResponse(List.of(new Generation(new AssistantMessage("The mean is " + answer))));
        }

        private static ChatResponse run(String id, String code) {
            AssistantMessage.ToolCall call =
                    new AssistantMessage.ToolCall(id, "function", "python_execute", "{\"code\": \"" + code + "\"}");
            return new ChatResponse(List.of(new Generation(AssistantMessage.builder().content("").toolCalls(List.of(call)).build())));
        }
    }

    @Test
    void aModelMendsItsCodeByTheHintAndAnswers() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            ToolCallingChatOptions options = ToolCallingChatOptions.builder()
                    .toolCallbacks(new PyExecutorToolCallbackProvider(executor, "s").getToolCallbacks())
                    .build();
            ToolCallingManager manager = ToolCallingManager.builder().build();
            ScriptedModel model = new ScriptedModel();
            Prompt prompt = new Prompt("What is the mean of 1, 2 and 3?", options);
            ChatResponse response = model.call(prompt);
            int turns = 1;
            for (; response.hasToolCalls(); turns++) {
                ToolExecutionResult executed = manager.executeToolCalls(prompt, response);
                assertFalse(executed.returnDirect());
                prompt = new Prompt(executed.conversationHistory(), options);
                response = model.call(prompt);
            }
            assertEquals(3, turns);
            assertEquals("The mean is 2", response.getResult().getOutput().getText());
            assertTrue(prompt.getInstructions().stream().anyMatch(message -> message instanceof ToolResponseMessage));
        }
    }
}
