// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One {@code pyexec rpc}. Any number of threads send requests to its standard input. Its answers come through a socket, so that
 * the thread that waits for an answer can read it, or through its standard output if there can't be a socket
 * ({@link AnswerReading}). When the process ends, every call that has no answer fails.
 */
final class NativeProcess {
    private static final int WORDS_MAX = 4096;
    private static final long END_SECONDS = 10;
    /** Codes of the errors that answer a tool_call: docs/rpc.md. */
    private static final int TOOL_FAILED = -32000;
    private static final int TOOL_DENIED = -32001;

    /** A call without an answer yet. */
    static final class Call {
        final long id;
        private final AnswerReading.Turn<Map<String, Object>> turn = new AnswerReading.Turn<>();
        private final ToolCalls tools;

        Call(long id, ToolCalls tools) {
            this.id = id;
            this.tools = tools;
        }
    }

    private final NativeProgram program;
    private final Process process;
    private final OutputStream input;
    private final AnswerReading reading;
    private final ReentrantLock writing = new ReentrantLock();
    private final AtomicLong nextId = new AtomicLong();
    private final Map<Long, Call> calls = new ConcurrentHashMap<>();
    private final CompletableFuture<String> lastWords = new CompletableFuture<>();
    /** How the process ended; null while it runs. */
    private volatile String ended;

    NativeProcess(NativeProgram program) {
        this.program = program;
        try {
            // This JVM handles the signals to its process group. Runs are cancelled when the executor is closed, or when the JVM ends.
            process = program.command("rpc", "--ignore-signals").start();
        } catch (IOException e) {
            throw program.unusable(e.getMessage(), e);
        }
        input = process.getOutputStream();
        reading = new AnswerReading(AnswerLines.of(process.getInputStream()), this::take);
        startThread("pyexec-answers-" + process.pid(), this::serveAnswers);
        startThread("pyexec-stderr-" + process.pid(), this::readLastWords);
    }

    private static void startThread(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
    }

    boolean hasEnded() {
        return ended != null;
    }

    long pid() {
        return process.pid();
    }

    Process process() {
        return process;
    }

    /**
     * Sends a request. IOException: the process is gone and has not seen it.
     *
     * @param tools answers the calls of the request's script; null: it has none
     */
    Call send(String method, Map<String, Object> params, ToolCalls tools) throws IOException {
        Call call = new Call(nextId.incrementAndGet(), tools);
        byte[] line = line(call.id, method, params);
        if (line.length > Transport.REQUEST_MAX) {
            throw Failures.tooLong(method);
        }
        calls.put(call.id, call);
        try {
            write(line);
        } catch (IOException e) {
            calls.remove(call.id);
            throw e;
        }
        if (ended != null) {
            fail(call);
        }
        return call;
    }

    private void write(byte[] line) throws IOException {
        writing.lock();
        try {
            input.write(line);
            input.flush();
        } finally {
            writing.unlock();
        }
    }

    private static byte[] line(long id, String method, Map<String, Object> params) {
        StringBuilder out = new StringBuilder(256);
        out.append("{\"jsonrpc\":\"2.0\",\"id\":").append(id).append(",\"method\":\"").append(method).append("\",\"params\":");
        Json.write(out, params);
        return out.append("}\n").toString().getBytes(StandardCharsets.UTF_8);
    }

    /** Asks for the end of a call, which then gets its answer. This request itself has no answer. */
    void cancel(Call call) {
        try {
            reading.serve(send("cancel", Collections.singletonMap("request", call.id), null).turn);
        } catch (IOException e) {
            // The process is gone, and the call with it. The reader reports it.
        }
    }

    /** The answer of a call, for which no thread waits in {@link #await}. */
    CompletableFuture<Map<String, Object>> answer(Call call) {
        reading.serve(call.turn);
        return call.turn.answer;
    }

    /** Waits for the answer of a call. After an interrupt the call has not ended; see {@link #cancel}. */
    Map<String, Object> await(Call call) throws InterruptedException, ExecutionException {
        try {
            return reading.await(call.turn);
        } catch (InterruptedException e) {
            reading.serve(call.turn);
            throw e;
        }
    }

    private void serveAnswers() {
        try {
            moveAnswers();
            if (!reading.serve()) {
                process.destroyForcibly();
            }
        } finally {
            ended = ending();
            calls.values().forEach(this::fail);
            reading.close();
        }
    }

    /** Asks the process for a connection, through which its answers come then. Versions that do not know this request refuse it. */
    private void moveAnswers() {
        try (AnswerSocket socket = AnswerSocket.open()) {
            if (socket != null) {
                Call call = send("move_answers", Collections.singletonMap("path", socket.path.toString()), null);
                reading.readUntil(call.turn);
                if (call.turn.answer.isDone() && call.turn.answer.join().containsKey("result")) {
                    reading.continueWith(AnswerLines.of(socket.accept()));
                }
            }
        } catch (IOException | CompletionException e) {
            process.destroyForcibly();
        }
    }

    private void take(String line) {
        Map<String, Object> message = Json.parseObject(line);
        Object id = message.get("id");
        if (message.get("method") instanceof String method) {
            takeRequest(id, method, message.get("params"));
            return;
        }
        Call call = id instanceof Long ? calls.remove(id) : null;
        if (call != null) {
            reading.arrived(call.turn, message);
        }
    }

    /** A request of the server: a script calls a tool. A notification has no id; this client asks for none, and ignores it. */
    @SuppressWarnings("unchecked")
    private void takeRequest(Object id, String method, Object params) {
        if (id == null) {
            return;
        }
        Map<String, Object> asked = params instanceof Map ? (Map<String, Object>) params : Collections.emptyMap();
        Call call = asked.get("request") instanceof Long request ? calls.get(request) : null;
        if (!"tool_call".equals(method) || call == null || call.tools == null) {
            answer(id, "\"error\":{\"code\":-32601,\"message\":\"this client does not accept this request\"}");
        } else {
            call.tools.call(asked, answer -> answer(id, member(answer)));
        }
    }

    /** Returns an answer as a member of a JSON-RPC response. */
    private static String member(ToolCalls.Answer answer) {
        if (answer.resultJson() != null) {
            return "\"result\":" + answer.resultJson();
        }
        Map<String, Object> error = new LinkedHashMap<>();
        boolean denied = answer.denial() != null;
        error.put("code", denied ? TOOL_DENIED : TOOL_FAILED);
        return "\"error\":" + ToolCalls.error(denied ? new ToolCalls.Failure(answer.denial(), null) : answer.failure(), error);
    }

    private void answer(Object id, String member) {
        try {
            write(("{\"jsonrpc\":\"2.0\",\"id\":" + Json.write(id) + "," + member + "}\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            // The process is gone, and with it the script that waits.
        }
    }

    private void fail(Call call) {
        calls.remove(call.id);
        reading.failed(call.turn, new ProcessEnded(ended));
    }

    /** Waits for the end of the process, and returns a text that says how it ended. */
    String ending() {
        try {
            int status = process.onExit().get(END_SECONDS, TimeUnit.SECONDS).exitValue();
            String words = lastWords.get(1, TimeUnit.SECONDS).trim();
            return "the native program " + program.path + " ended (exit status " + status + ")" + (words.isEmpty() ? "" : ": " + words);
        } catch (InterruptedException | ExecutionException | TimeoutException e) {
            return "the native program " + program.path + " closed its output";
        }
    }

    private void readLastWords() {
        StringBuilder words = new StringBuilder();
        byte[] bytes = new byte[1024];
        try {
            InputStream in = process.getErrorStream();
            for (int n = in.read(bytes); n >= 0; n = in.read(bytes)) {
                words.append(new String(bytes, 0, n, StandardCharsets.UTF_8));
                words.delete(0, Math.max(0, words.length() - WORDS_MAX));
            }
        } catch (IOException e) {
            // The output that was read before is used.
        }
        lastWords.complete(words.toString());
        reading.lookForEnd();
    }

    /** Closes the input of the process: then it cancels all runs, removes everything and ends. */
    void close() {
        writing.lock();
        try {
            input.close();
        } catch (IOException e) {
            // The process has already ended.
        } finally {
            writing.unlock();
        }
        if (!endsInTime()) {
            process.destroyForcibly();
        }
    }

    /** Waits without the timer of CompletableFuture: the thread of that timer never ends, and would keep the caller's class loader. */
    private boolean endsInTime() {
        boolean interrupted = false;
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(END_SECONDS);
        try {
            while (true) {
                try {
                    return process.waitFor(end - System.nanoTime(), TimeUnit.NANOSECONDS);
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** The process is gone; whether the call was executed is not known. */
    static final class ProcessEnded extends Exception {
        private static final long serialVersionUID = 1L;

        ProcessEnded(String message) {
            super(message);
        }
    }
}
