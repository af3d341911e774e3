// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;

/**
 * The result of an execution. Limits, kills, counts of bytes, files and usage are facts of the host. The status ok or error, the
 * value, the error and the denials are claims of the script's own process.
 */
public class PyExecutionResult {

    /** How an execution ended. */
    public enum Status {
        /** The script ended, or called {@code sys.exit(0)}. */
        OK,
        /** An uncaught exception, or an exit code other than 0. */
        ERROR,
        /** The wall-clock limit; thrown as {@link PyExecutionTimeoutException}. */
        TIMEOUT,
        /** The CPU limit. */
        CPU_LIMIT,
        /** The memory limit. */
        MEMORY_LIMIT,
        /** A SIGKILL that pyexec did not send, for example from the out-of-memory killer or an operator. */
        KILLED,
        /** A fatal signal, or an end without a result. */
        CRASHED,
        /** The caller cancelled it. */
        CANCELLED
    }

    /**
     * An uncaught exception.
     *
     * @param type its class
     * @param message its text
     * @param line the script's line, or null
     * @param traceback as Python prints it, with the script's own frames
     * @param hint what to do next, or null
     */
    public record PyError(String type, String message, Integer line, String traceback, String hint) {
    }

    /**
     * A refused action.
     *
     * @param layer imports, files, network, syscall, processes or tools
     * @param what the action that was refused
     * @param line the script's line, or null
     * @param hint what to do instead, or null
     */
    public record Denial(String layer, String what, Integer line, String hint) {
    }

    /**
     * A file that the execution made, changed or deleted.
     *
     * @param path relative to the workspace
     * @param bytes its size
     * @param change created, modified or deleted
     * @param content the content, if {@link PyExecutionOptions#setReturnFiles} asked for it; else null
     */
    public record FileChange(String path, long bytes, String change, byte[] content) {
        @Override
        public boolean equals(Object other) {
            return other instanceof FileChange file && path.equals(file.path) && bytes == file.bytes
                    && Objects.equals(change, file.change) && Arrays.equals(content, file.content);
        }

        @Override
        public int hashCode() {
            return Objects.hash(path, bytes, change, Arrays.hashCode(content));
        }
    }

    /**
     * What the script displayed: {@code display(x)}, a figure, a last value with a rich form.
     *
     * @param data content by MIME type: any JSON for JSON types, and a String for all others, in base64 for binary types
     * @param metadata of the content
     * @param lastValue whether it is the last expression's value
     */
    public record Display(Map<String, Object> data, Map<String, Object> metadata, boolean lastValue) {

        /**
         * The bytes of a binary type such as {@code image/png}.
         *
         * @param type of the content
         * @return the bytes, or null if there is no content of this type
         * @throws IllegalArgumentException if the content is not base64
         */
        public byte[] bytes(String type) {
            return data.get(type) instanceof String text ? Base64.getMimeDecoder().decode(text) : null;
        }
    }

    /**
     * The time and memory that the execution used.
     *
     * @param wallMillis wall-clock time
     * @param cpuMillis CPU time
     * @param peakMemoryBytes the most memory that the process had, including pages that it shares with the warm parent
     * @param toolCalls calls of the caller's tools
     */
    public record Usage(double wallMillis, double cpuMillis, long peakMemoryBytes, ToolUsage toolCalls) {
    }

    /**
     * Calls of the caller's tools.
     *
     * @param count how many the script made
     * @param waitMillis time in which at least one call had no answer yet
     */
    public record ToolUsage(long count, double waitMillis) {
    }

    /**
     * The session of a call.
     *
     * @param id its id
     * @param created whether this call made it
     * @param restarted null, or why the earlier state of this id is lost: killed, crashed, timeout, cpu_limit,
     *     memory_limit, idle_ttl, hard_ttl, evicted, closed or host_restart
     * @param executionCount how many calls the session has had
     * @param restored null, or the call ended the session's process, and the session returned to the state before the call
     * @param noCheckpoint null, or why auto_checkpoint could not keep the state before the call
     */
    public record Session(String id, boolean created, String restarted, long executionCount, Restored restored, String noCheckpoint) {

        /**
         * Makes the session of a call that had nothing to do with checkpoints.
         *
         * @param id its id
         * @param created whether this call made it
         * @param restarted null, or why the earlier state is lost
         * @param executionCount how many calls the session has had
         */
        public Session(String id, boolean created, String restarted, long executionCount) {
            this(id, created, restarted, executionCount, null, null);
        }
    }

    /**
     * A return of a session to the state before a call.
     *
     * @param to the execution count of the call
     * @param why how the process ended: the status of the call
     */
    public record Restored(long to, String why) {
    }

    /**
     * The environment whose packages the execution could import.
     *
     * @param name its name
     * @param hash the version that the execution used; an update gives the name another one
     */
    public record Environment(String name, String hash) {
    }

    private final int exitCode;
    private final String stdout;
    private final boolean stdoutTruncated;
    private final String stderr;
    private final boolean stderrTruncated;
    private final long elapsedMs;
    private final String lastValueRepr;
    private final String errorRepr;
    private final Status status;
    private final Map<String, Object> rest;
    private final Session session;

    /**
     * Makes a result that has only the fields of the original library.
     *
     * @param exitCode 0, or a number that says how it failed
     * @param stdout standard output
     * @param stdoutTruncated whether some of it was dropped
     * @param stderr standard error
     * @param stderrTruncated whether some of it was dropped
     * @param elapsedMs wall-clock time
     * @param lastValueRepr the repr of the last expression, or null
     * @param errorRepr {@code Type: message} of an uncaught exception, or null
     */
    public PyExecutionResult(int exitCode, String stdout, boolean stdoutTruncated, String stderr, boolean stderrTruncated,
            long elapsedMs, String lastValueRepr, String errorRepr) {
        this.exitCode = exitCode;
        this.stdout = stdout;
        this.stdoutTruncated = stdoutTruncated;
        this.stderr = stderr;
        this.stderrTruncated = stderrTruncated;
        this.elapsedMs = elapsedMs;
        this.lastValueRepr = lastValueRepr;
        this.errorRepr = errorRepr;
        this.status = exitCode == 0 ? Status.OK : exitCode == 124 ? Status.TIMEOUT : Status.ERROR;
        this.rest = Collections.emptyMap();
        this.session = null;
    }

    /** Makes a result from the object of the protocol. `sessionId` is null for a single run. `sessions` are those that the executor has had. */
    PyExecutionResult(Map<String, Object> map, String sessionId, SessionMemory sessions) {
        Map<String, Object> of = object(map.get("session"));
        this.exitCode = ((Number) map.get("exit_code")).intValue();
        this.stdout = stream(map.get("stdout"), of);
        this.stdoutTruncated = Boolean.TRUE.equals(map.get("stdout_truncated"));
        this.stderr = stream(map.get("stderr"), of);
        this.stderrTruncated = Boolean.TRUE.equals(map.get("stderr_truncated"));
        this.lastValueRepr = (String) map.get("last_value_repr");
        this.errorRepr = (String) map.get("error_repr");
        this.status = Status.valueOf(((String) map.get("status")).toUpperCase(Locale.ROOT));
        this.rest = map;
        this.elapsedMs = Math.round(getUsage().wallMillis());
        this.session = of == null || sessionId == null ? null : session(of, sessionId, sessions);
    }

    private static Session session(Map<String, Object> of, String id, SessionMemory sessions) {
        boolean created = Boolean.TRUE.equals(of.get("created"));
        return new Session(id, created, sessions.answered(id, created, (String) of.get("restarted")),
                number(of.get("execution_count")).longValue(), restored((Map<?, ?>) of.get("restored")), (String) of.get("no_checkpoint"));
    }

    private static Restored restored(Map<?, ?> of) {
        return of == null ? null : new Restored(number(of.get("to")).longValue(), (String) of.get("why"));
    }

    /** As in the original: if nothing was written, the text is null in a session, and "" in a single run. */
    private static String stream(Object text, Map<String, Object> session) {
        return session != null && "".equals(text) ? null : (String) text;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> object(Object value) {
        return (Map<String, Object>) value;
    }

    private static Number number(Object value) {
        return value == null ? 0 : (Number) value;
    }

    private static Integer line(Map<String, Object> map) {
        return map.get("line") == null ? null : (Integer) number(map.get("line")).intValue();
    }

    private <T> List<T> list(String key, Function<Map<String, Object>, T> make) {
        List<T> made = new ArrayList<>();
        List<?> items = (List<?>) rest.get(key);
        for (Object item : items == null ? Collections.emptyList() : items) {
            made.add(make.apply(object(item)));
        }
        return Collections.unmodifiableList(made);
    }

    /** @return 0; 1 for an uncaught exception; n of {@code sys.exit(n)}; 124 timeout; 137 killed; 128 + signal crashed */
    public int getExitCode() {
        return exitCode;
    }

    /** @return standard output; in a session null when nothing was written */
    public String getStdout() {
        return stdout;
    }

    /** @return standard error; in a session null when nothing was written */
    public String getStderr() {
        return stderr;
    }

    /** @return whether some of standard output was dropped */
    public boolean isStdoutTruncated() {
        return stdoutTruncated;
    }

    /** @return whether some of standard error was dropped */
    public boolean isStderrTruncated() {
        return stderrTruncated;
    }

    /** @return wall-clock time of the execution in milliseconds */
    public long getElapsedMs() {
        return elapsedMs;
    }

    /** @return the repr of the last expression, or null */
    public String getLastValueRepr() {
        return lastValueRepr;
    }

    /** @return {@code Type: message} of an uncaught exception, or null */
    public String getErrorRepr() {
        return errorRepr;
    }

    /** @return how it ended */
    public Status getStatus() {
        return status;
    }

    /** @return whether it ended without an error */
    public boolean isOk() {
        return status == Status.OK;
    }

    /** @return how many bytes were written to standard output */
    public long getStdoutBytes() {
        return number(rest.get("stdout_bytes")).longValue();
    }

    /** @return how many bytes were written to standard error */
    public long getStderrBytes() {
        return number(rest.get("stderr_bytes")).longValue();
    }

    /** @return whether {@link #getLastValueRepr()} was cut */
    public boolean isLastValueTruncated() {
        return Boolean.TRUE.equals(rest.get("last_value_truncated"));
    }

    /** @return the uncaught exception, or null */
    public PyError getError() {
        Map<String, Object> error = object(rest.get("error"));
        return error == null ? null : new PyError((String) error.get("type"), (String) error.get("message"), line(error),
                (String) error.get("traceback"), (String) error.get("hint"));
    }

    /** @return the refused actions, at most 100 */
    public List<Denial> getDenials() {
        return list("denials", denial -> new Denial((String) denial.get("layer"), (String) denial.get("what"), line(denial),
                (String) denial.get("hint")));
    }

    /** @return the files that were made, changed or deleted */
    public List<FileChange> getFiles() {
        return list("files", file -> new FileChange((String) file.get("path"), number(file.get("bytes")).longValue(),
                (String) file.get("change"), file.get("content_base64") == null ? null
                        : Base64.getDecoder().decode((String) file.get("content_base64"))));
    }

    /** @return what the script displayed, in order */
    public List<Display> getDisplays() {
        return list("display", item -> new Display(object(item.get("data")), object(item.get("metadata")),
                Boolean.TRUE.equals(item.get("last_value"))));
    }

    /**
     * The last expression's value as JSON, if {@link PyExecutionOptions#setValueJson} asked for it.
     *
     * @return a Map, List, String, Long, Double or Boolean. Null for None, if it was not asked for, if there is no value, and if it
     *     has no JSON form: {@link #getLastValueJsonError()} then says why
     */
    public Object getLastValueJson() {
        return rest.get("last_value_json");
    }

    /** @return why the value has no JSON, or null */
    public String getLastValueJsonError() {
        return (String) rest.get("last_value_json_error");
    }

    /** @return the isolation layers that this execution did not have */
    public List<String> getMissingLayers() {
        List<String> layers = new ArrayList<>();
        List<?> items = (List<?>) rest.get("missing_layers");
        for (Object item : items == null ? Collections.emptyList() : items) {
            layers.add((String) item);
        }
        return Collections.unmodifiableList(layers);
    }

    // made from result.def: accessors
    /** @return How many displays were dropped because of the limits */
    public long getDisplayDropped() {
        return number(rest.get("display_dropped")).longValue();
    }

    /** @return True if some files or contents were left out */
    public boolean isFilesTruncated() {
        return Boolean.TRUE.equals(rest.get("files_truncated"));
    }

    /** @return How many more actions were refused */
    public long getDenialsDropped() {
        return number(rest.get("denials_dropped")).longValue();
    }

    /** @return How complete the sandbox of the run was: full, container or reduced */
    public String getTier() {
        return (String) rest.get("tier");
    }
    // end of accessors

    /** @return the time and memory that the execution used */
    public Usage getUsage() {
        Map<String, Object> usage = object(rest.get("usage"));
        if (usage == null) {
            return new Usage(elapsedMs, 0, 0, new ToolUsage(0, 0));
        }
        Map<String, Object> calls = object(usage.get("tool_calls"));
        return new Usage(number(usage.get("wall_ms")).doubleValue(), number(usage.get("cpu_ms")).doubleValue(),
                number(usage.get("peak_memory_bytes")).longValue(),
                calls == null ? new ToolUsage(0, 0) : new ToolUsage(number(calls.get("count")).longValue(),
                        number(calls.get("wait_ms")).doubleValue()));
    }

    /** @return the environment, or null if the execution had none */
    public Environment getEnvironment() {
        Map<String, Object> environment = object(rest.get("environment"));
        return environment == null ? null : new Environment((String) environment.get("name"), (String) environment.get("hash"));
    }

    /** @return the session, or null for a single run */
    public Session getSession() {
        return session;
    }

    /**
     * A text for a model or a person: standard output, standard error with the traceback, the last value, what was displayed
     * and the hint. Empty parts are left out. It has at most 20,000 bytes of UTF-8. If it is longer, the middle is left out, and
     * a line says how many bytes are missing.
     *
     * @return a text that is not empty
     */
    public String toText() {
        return ModelText.of(this);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof PyExecutionResult && fields().equals(((PyExecutionResult) other).fields());
    }

    @Override
    public int hashCode() {
        return fields().hashCode();
    }

    private List<Object> fields() {
        return Arrays.asList(exitCode, stdout, stdoutTruncated, stderr, stderrTruncated, elapsedMs, lastValueRepr, errorRepr, status,
                session, rest);
    }

    @Override
    public String toString() {
        return "PyExecutionResult{" + status + ", exitCode=" + exitCode + ", lastValueRepr=" + lastValueRepr + ", errorRepr="
                + errorRepr + "}";
    }
}
