// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/** Settings of one execution. */
public class PyExecutionOptions {
    private String workingDirRelative;
    private final Map<String, String> extraEnv = new LinkedHashMap<>();
    private Boolean printLastExpression;
    private Duration timeout;
    private Boolean checkpoint;
    private String key;
    private String stdin;
    private final Map<String, byte[]> files = new LinkedHashMap<>();
    private List<String> returnFiles = new ArrayList<>();
    private List<String> packages = new ArrayList<>();
    private Map<String, Object> inputs = new LinkedHashMap<>();
    private String valueJson;
    private final Map<String, PyTool> tools = new LinkedHashMap<>();

    /** No settings: the execution has only the policy. */
    public PyExecutionOptions() {
    }

    /** @return the working directory, or null */
    public String getWorkingDirRelative() {
        return workingDirRelative;
    }

    /**
     * @param workingDirRelative the working directory, relative to the workspace and made if missing. In
     *     {@link PyExecutor#executeOnce} one that exists under {@code java.io.tmpdir} is the run's workspace
     * @return this
     */
    public PyExecutionOptions setWorkingDirRelative(String workingDirRelative) {
        this.workingDirRelative = workingDirRelative;
        return this;
    }

    /**
     * @param name of an environment variable of the script; null is ignored
     * @param value its value; with null the variable is ignored
     * @return this
     */
    public PyExecutionOptions putEnv(String name, String value) {
        extraEnv.put(name, value);
        return this;
    }

    /** @return the script's environment variables; changes of this map change the options */
    public Map<String, String> getExtraEnv() {
        return extraEnv;
    }

    /** @return whether the last expression's value is wanted; null is as the policy says */
    public Boolean getPrintLastExpression() {
        return printLastExpression;
    }

    /**
     * @param printLastExpression whether the last expression's value is wanted; null: as the policy says
     * @return this
     */
    public PyExecutionOptions setPrintLastExpression(Boolean printLastExpression) {
        this.printLastExpression = printLastExpression;
        return this;
    }

    /** @return the wall-clock limit; null is the policy's */
    public Duration getTimeout() {
        return timeout;
    }

    /**
     * @param timeout the wall-clock limit; null: the policy's
     * @return this
     */
    public PyExecutionOptions setTimeout(Duration timeout) {
        this.timeout = timeout;
        return this;
    }

    /** @return whether the session keeps the state before the call; null: as the policy says */
    public Boolean getCheckpoint() {
        return checkpoint;
    }

    /**
     * Only for a call of a session.
     *
     * @param checkpoint true: the session keeps the state before the call, for {@link PyExecutor#undo(String)}; false: it does not;
     *     null: as the policy says
     * @return this
     */
    public PyExecutionOptions setCheckpoint(Boolean checkpoint) {
        this.checkpoint = checkpoint;
        return this;
    }

    /** @return the key of this execution, or null */
    public String getKey() {
        return key;
    }

    /**
     * Only for a fleet over NATS. Of all executions of the principal with this key, at most one starts in a day. The others fail with
     * a {@link PyExecutorException} whose code is {@code already_started}. If the answer is lost, the execution is sent again, so that
     * it is known whether it has started. It costs one round trip to JetStream.
     *
     * @param key 1 to 128 characters of printable ASCII; null: none
     * @return this
     */
    public PyExecutionOptions setKey(String key) {
        this.key = key;
        return this;
    }

    /** @return the script's standard input, or null */
    public String getStdin() {
        return stdin;
    }

    /**
     * @param stdin the script's standard input; null: empty
     * @return this
     */
    public PyExecutionOptions setStdin(String stdin) {
        this.stdin = stdin;
        return this;
    }

    /**
     * Puts a file into the workspace before the run; the policy must give file access.
     *
     * @param path relative to the workspace
     * @param content of the file
     * @return this
     */
    public PyExecutionOptions putFile(String path, byte[] content) {
        files.put(path, content.clone());
        return this;
    }

    /** @return the files that are put into the workspace; changes of this map change the options */
    public Map<String, byte[]> getFiles() {
        return files;
    }

    /** @return patterns of the files whose contents are wanted */
    public List<String> getReturnFiles() {
        return returnFiles;
    }

    /**
     * @param patterns such as {@code *.png}: the files whose contents are wanted in {@link PyExecutionResult#getFiles()}
     * @return this
     */
    public PyExecutionOptions setReturnFiles(String... patterns) {
        this.returnFiles = new ArrayList<>(Arrays.asList(patterns));
        return this;
    }

    /** @return the packages that the script may import in addition */
    public List<String> getPackages() {
        return packages;
    }

    /**
     * Only with a server ({@link HostConfig#setUrl}) whose operator allows these packages. The first request for them waits until they are
     * installed, for which {@link HostConfig#setAnswerTimeout} does not count.
     *
     * @param packages names, with versions if wanted, such as {@code "pandas>=2"}: the script may import these packages. A session keeps
     *     those of the call that makes it; later calls give the same ones or none
     * @return this
     */
    public PyExecutionOptions setPackages(String... packages) {
        this.packages = new ArrayList<>(Arrays.asList(packages));
        return this;
    }

    /** @return the variables that are set before the code runs; changes of this map change the options */
    public Map<String, Object> getInputs() {
        return inputs;
    }

    /**
     * @param inputs variables that are set before the code runs, by name: what JSON has (null, a Boolean, a Number, a
     *     String, a Collection or a Map of these); an array or a record; a date or time as ISO 8601, a Duration as seconds,
     *     an enum by its name, {@code byte[]} as base64; a BigDecimal as the str of its exact digits, for Python's Decimal
     * @return this
     */
    public PyExecutionOptions setInputs(Map<String, ?> inputs) {
        this.inputs = new LinkedHashMap<>(inputs);
        return this;
    }

    /**
     * @param name of a variable that is set before the code runs
     * @param value as {@link #setInputs} takes it
     * @return this
     */
    public PyExecutionOptions putInput(String name, Object value) {
        inputs.put(name, value);
        return this;
    }

    /** @return how the last value is wanted as JSON, or null */
    public String getValueJson() {
        return valueJson;
    }

    /**
     * @param tables {@code "records"}: the result has the last value as JSON ({@link
     *     PyExecutionResult#getLastValueJson()}), with a table as a list of objects; {@code "split"}: with a table as
     *     separate columns, index and data; null: no JSON
     * @return this
     */
    public PyExecutionOptions setValueJson(String tables) {
        this.valueJson = tables;
        return this;
    }

    /**
     * Offers a function of this program to the script, which calls it like any other and waits for its answer.
     *
     * @param name the name in the script: an identifier that is not a name of Python itself (docs/tools.md)
     * @param definition members {@code description}, {@code parameters} (a JSON Schema of an object), {@code returns} and
     *     {@code approval}, each of which may be left out; null: none
     * @param function is called with the arguments on a thread of {@link HostConfig#setAsyncExecutor}. They come from a script
     *     that nobody has reviewed: check them. Its value becomes JSON as {@link #setInputs} says; a CompletionStage is
     *     awaited. An exception becomes an error of the script's call: see {@link PyToolException} and
     *     {@link PyToolDeniedException}
     * @return this
     */
    public PyExecutionOptions putTool(String name, Map<String, ?> definition, Function<Map<String, Object>, ?> function) {
        tools.put(name, new PyTool(name, definition == null ? null : new LinkedHashMap<>(definition), function));
        return this;
    }

    /**
     * {@link #putTool(String, Map, Function)} with the definition as JSON.
     *
     * @param name as the script calls it
     * @param definitionJson the object; null: none
     * @param function that is called
     * @return this
     * @throws IllegalArgumentException when the definition is not a JSON object
     */
    public PyExecutionOptions putTool(String name, String definitionJson, Function<Map<String, Object>, ?> function) {
        try {
            return putTool(name, definitionJson == null ? null : Json.parseObject(definitionJson), function);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("tool '" + name + "': its definition: " + e.getMessage(), e);
        }
    }

    /**
     * Offers a tool of a framework, which takes and gives text.
     *
     * @param name the name in the framework: characters that a Python name can't have become {@code _}, and a second tool with
     *     the same name gets {@code _2}
     * @param description for the model; null: none
     * @param parametersJson a JSON Schema of an object; null: none
     * @param function is called with the arguments as JSON. The script gets the value of the JSON that it returns, or the text
     *     when it is not JSON. For its thread and its exceptions see {@link #putTool(String, Map, Function)}
     * @return this
     * @throws IllegalArgumentException when the schema is not a JSON object
     */
    public PyExecutionOptions putTextTool(String name, String description, String parametersJson, UnaryOperator<String> function) {
        Map<String, Object> definition = new LinkedHashMap<>();
        if (description != null) {
            definition.put("description", description);
        }
        if (parametersJson != null) {
            definition.put("parameters", Json.parseObject(parametersJson));
        }
        return putTool(PyTool.freeName(name, tools.keySet()), definition,
                arguments -> PyTool.valueOf(function.apply(Json.write(arguments))));
    }

    /** @return the functions that the script may call, by name; changes of this map change the options */
    public Map<String, PyTool> getTools() {
        return tools;
    }

    /**
     * The functions that the script may call, for the description that a model reads.
     *
     * @return a sentence and a line for each, after a blank line; empty when there are none
     */
    public String describeTools() {
        if (tools.isEmpty()) {
            return "";
        }
        StringBuilder text = new StringBuilder("\n\nThe code can call these functions, many in one program:");
        tools.values().forEach(tool -> {
            Object description = tool.definition().get("description");
            text.append("\n- ").append(tool.signature())
                    .append(description == null ? "" : ": " + description.toString().strip().replaceAll("\\s+", " "));
        });
        return text.toString();
    }

    PyExecutionOptions copy() {
        PyExecutionOptions copy = new PyExecutionOptions();
        copy.workingDirRelative = workingDirRelative;
        copy.extraEnv.putAll(extraEnv);
        copy.printLastExpression = printLastExpression;
        copy.timeout = timeout;
        copy.checkpoint = checkpoint;
        copy.stdin = stdin;
        copy.files.putAll(files);
        copy.returnFiles = new ArrayList<>(returnFiles);
        copy.packages = new ArrayList<>(packages);
        copy.inputs = new LinkedHashMap<>(inputs);
        copy.valueJson = valueJson;
        copy.tools.putAll(tools);
        return copy;
    }
}
