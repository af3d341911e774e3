package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;

/**
 * The native process of an executor: started at the first call, and again when it has died. Sessions that a process
 * took with it are remembered, so that their next call can say so.
 */
final class NativeClient {
    private static final int REMEMBERED = 10000;

    private final PyExecutionPolicy policy;
    private final Map<String, Object> sessionConfig;
    private final HostConfig host;
    private final ReentrantLock starting = new ReentrantLock();
    private final SessionMemory sessions = new SessionMemory();
    private volatile Connection current;
    private boolean closed;

    NativeClient(PyExecutionPolicy policy, Map<String, Object> sessionConfig, HostConfig host) {
        this.policy = policy;
        this.sessionConfig = sessionConfig;
        this.host = host;
    }

    /** A process that has been initialised, and with which policy. */
    private static final class Connection {
        final NativeProcess process;
        final Map<String, Object> policy;

        Connection(NativeProcess process, Map<String, Object> policy) {
            this.process = process;
            this.policy = policy;
        }
    }

    /** A call that was sent. */
    static final class Pending {
        final NativeProcess process;
        final NativeProcess.Call call;

        Pending(NativeProcess process, NativeProcess.Call call) {
            this.process = process;
            this.call = call;
        }

        void cancel() {
            process.cancel(call);
        }

        /** The result object. An interrupt of this thread cancels the call. */
        Map<String, Object> await() throws InterruptedException {
            try {
                return resultOf(call.answer.get());
            } catch (ExecutionException e) {
                throw failure(e.getCause());
            } catch (InterruptedException e) {
                cancel();
                throw e;
            }
        }
    }

    SessionMemory sessions() {
        return sessions;
    }

    boolean isStarted() {
        return current != null;
    }

    /** Sends a request; what it says may depend on the policy with which the process was initialised. */
    Pending send(String method, Function<Map<String, Object>, Map<String, Object>> params) throws InterruptedException {
        Connection connection = connect();
        try {
            return new Pending(connection.process, connection.process.send(method, params.apply(connection.policy)));
        } catch (IOException e) {
            discard(connection);
        }
        connection = connect();
        try {
            return new Pending(connection.process, connection.process.send(method, params.apply(connection.policy)));
        } catch (IOException e) {
            throw new PyExecutorException("internal", connection.process.ending(), "The code never started.", e);
        }
    }

    /** The native process's id, for tests and messages. */
    long pid() throws InterruptedException {
        return connect().process.pid();
    }

    private Connection connect() throws InterruptedException {
        Connection connection = current;
        if (connection != null && !connection.process.hasEnded()) {
            return connection;
        }
        starting.lockInterruptibly();
        try {
            if (closed) {
                throw new PyExecutorException("shutting_down", "the executor is closed", "Make another one.");
            }
            if (current != null && current.process.hasEnded()) {
                sessions.lose();
                current = null;
            }
            if (current == null) {
                current = start();
            }
            return current;
        } finally {
            starting.unlock();
        }
    }

    private void discard(Connection dead) {
        starting.lock();
        try {
            if (current == dead) {
                sessions.lose();
                current = null;
            }
        } finally {
            starting.unlock();
        }
        dead.process.close();
    }

    private Connection start() throws InterruptedException {
        NativeProgram program = NativeProgram.find(host.getExecutable());
        NativeProcess process = new NativeProcess(program);
        Map<String, Object> base = policy.toMap(null);
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("protocol", 1);
        params.put("policy", base);
        params.put("session", sessionConfig);
        params.put("host", host.toMap());
        boolean done = false;
        try {
            new Pending(process, process.send("initialize", params)).await();
            done = true;
            return new Connection(process, base);
        } catch (IOException e) {
            throw program.unusable(process.ending(), e);
        } catch (PyExecutorException e) {
            throw "sandbox_unavailable".equals(e.getCode()) ? withDoctor(program, e) : e;
        } finally {
            if (!done) {
                process.close();
            }
        }
    }

    /** Adds what `pyexec doctor` says, which names each missing layer and how to get it. */
    private static PyExecutorException withDoctor(NativeProgram program, PyExecutorException failure) throws InterruptedException {
        try {
            Process doctor = program.command("doctor").redirectErrorStream(true).start();
            doctor.getOutputStream().close();
            String words = new String(doctor.getInputStream().readNBytes(16384), StandardCharsets.UTF_8);
            if (!doctor.waitFor(10, TimeUnit.SECONDS)) {
                doctor.destroyForcibly();
            }
            return new PyExecutorException(failure, "pyexec doctor:\n" + words.trim());
        } catch (IOException e) {
            return failure;
        }
    }

    void close() {
        Connection last;
        starting.lock();
        try {
            closed = true;
            last = current;
            current = null;
        } finally {
            starting.unlock();
        }
        if (last != null) {
            last.process.close();
        }
    }

    /** What of `now` differs from `base`; keys are the same. */
    static Map<String, Object> difference(Map<String, Object> base, Map<String, Object> now) {
        Map<String, Object> changed = new LinkedHashMap<>();
        now.forEach((key, value) -> {
            if (!Objects.equals(base.get(key), value)) {
                changed.put(key, value);
            }
        });
        return changed;
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> resultOf(Map<String, Object> message) {
        Map<String, Object> error = (Map<String, Object>) message.get("error");
        if (error == null) {
            return (Map<String, Object>) message.get("result");
        }
        Map<String, Object> data = (Map<String, Object>) error.get("data");
        if (data == null) {
            throw new PyExecutorException("internal", "pyexec rpc: " + error.get("message"), null);
        }
        String code = (String) data.get("code");
        String text = (String) data.get("message");
        String hint = (String) data.get("hint");
        if ("invalid_request".equals(code)) {
            int outside = text.indexOf("outside sandbox: ");
            throw new IllegalArgumentException((outside < 0 ? text : text.substring(outside))
                    + (hint == null || hint.isEmpty() ? "" : " (" + hint + ")"));
        }
        if ("overloaded".equals(code)) {
            Object retry = data.get("retry_after_ms");
            throw new PyExecutorOverloadedException(text, hint, Duration.ofMillis(retry == null ? 100 : ((Number) retry).longValue()));
        }
        throw new PyExecutorException(code, text, hint);
    }

    static PyExecutorException failure(Throwable cause) {
        return new PyExecutorException("internal", cause.getMessage(),
                "Whether this code was executed is not known. The next call starts a new process; its sessions begin anew.", cause);
    }

    /** Which sessions the process has, and which an earlier one had. */
    static final class SessionMemory {
        private final Map<String, Boolean> living = bounded();
        private final Map<String, Boolean> lost = bounded();

        private static Map<String, Boolean> bounded() {
            return new LinkedHashMap<>() {
                private static final long serialVersionUID = 1L;

                @Override
                protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
                    return size() > REMEMBERED;
                }
            };
        }

        synchronized void lose() {
            lost.putAll(new HashMap<>(living));
            living.clear();
        }

        synchronized void loseOne(String id) {
            lost.put(id, true);
        }

        /** Notes a session's answer. "host_restart" when this call is the first after its state was lost, else null. */
        synchronized String answered(String id) {
            living.put(id, true);
            return lost.remove(id) == null ? null : "host_restart";
        }
    }
}
