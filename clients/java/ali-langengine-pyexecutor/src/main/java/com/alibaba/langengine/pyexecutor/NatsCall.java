// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import com.alibaba.langengine.pyexecutor.RemoteServer.Answer;
import com.alibaba.langengine.pyexecutor.RemoteServer.Request;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/** The answer that a caller waits for. It may need several requests over NATS. When it has failed or is cancelled, they are cancelled. */
final class NatsCall extends CompletableFuture<Answer> {
    private final NatsLink link;
    private final ToolCalls tools;
    private final Set<NatsExchange> asked = ConcurrentHashMap.newKeySet();

    /** @param tools answers the calls of the script; null: it has none */
    NatsCall(NatsLink link, ToolCalls tools) {
        this.link = link;
        this.tools = tools;
        whenComplete((answer, failure) -> asked.forEach(NatsExchange::cancel));
    }

    /**
     * Sends a request. Its answer fails with {@link NatsLink.NoResponders} if nobody listens to the subject.
     *
     * @param what method and path
     * @param request has the body and the key; null: none
     */
    CompletableFuture<Answer> ask(String subject, String what, Request request) {
        if (isDone()) {
            return CompletableFuture.failedFuture(new CancellationException());
        }
        NatsExchange exchange = new NatsExchange(link, tools, request == null ? null : request.body());
        asked.add(exchange);
        exchange.answer.whenComplete((answer, failure) -> asked.remove(exchange));
        exchange.begin(subject, what, request);
        if (isDone()) {
            exchange.cancel();
        }
        return exchange.answer;
    }
}
