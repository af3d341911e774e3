package com.alibaba.langengine.pyexecutor.langchain4j;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import java.util.ArrayList;
import java.util.List;

/** A model that runs the user's message as code, and records the answers of the tool and the tools that it was offered. */
final class EchoModel implements ChatModel {
    final List<ToolExecutionResultMessage> results = new ArrayList<>();
    final List<ToolSpecification> tools = new ArrayList<>();

    @Override
    public ChatResponse doChat(ChatRequest request) {
        tools.addAll(request.toolSpecifications());
        ChatMessage last = request.messages().get(request.messages().size() - 1);
        if (last instanceof ToolExecutionResultMessage result) {
            results.add(result);
            return ChatResponse.builder().aiMessage(AiMessage.from("done")).build();
        }
        String code = ((UserMessage) last).singleText().replace("\n", "\\n").replace("\"", "\\\"");
        return ChatResponse.builder().aiMessage(AiMessage.from(ToolExecutionRequest.builder().id("1").name("python_execute")
                .arguments("{\"code\": \"" + code + "\"}").build())).build();
    }

    /** Returns the last answer of the tool. */
    ToolExecutionResultMessage lastResult() {
        return results.get(results.size() - 1);
    }
}
