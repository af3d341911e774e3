package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.StringWriter;
import java.lang.reflect.Method;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The AliLangEngine tool of docs/java.md, against stand-ins: the engine itself is not in Maven Central. */
class LangEngineToolTest {
    private static final String CORE = "com.alibaba.langengine.core.";
    /** What the engine's own classes have, as far as the tool uses them. */
    private static final Map<String, String> STAND_INS = Map.of(
            CORE + "callback.ExecutionContext", "public class ExecutionContext { }",
            CORE + "tool.ToolExecuteResult", "public class ToolExecuteResult { private final String output;"
                    + " public ToolExecuteResult(String output) { this.output = output; } public String getOutput() { return output; } }",
            CORE + "tool.BaseTool", "public abstract class BaseTool { private String name, description, parameters;"
                    + " public String getName() { return name; } public void setName(String name) { this.name = name; }"
                    + " public void setDescription(String description) { this.description = description; }"
                    + " public void setParameters(String parameters) { this.parameters = parameters; }"
                    + " public String getParameters() { return parameters; }"
                    + " public ToolExecuteResult run(String input) { return run(input, null); }"
                    + " public abstract ToolExecuteResult run(String toolInput, " + CORE + "callback.ExecutionContext context); }",
            "com.alibaba.fastjson.JSONObject", "public class JSONObject { private final java.util.Map<?, ?> map;"
                    + " JSONObject(java.util.Map<?, ?> map) { this.map = map; } public String getString(String key) { return (String) map.get(key); } }",
            "com.alibaba.fastjson.JSON", "public class JSON { public static JSONObject parseObject(String text) { try { return new JSONObject("
                    + "new com.fasterxml.jackson.databind.ObjectMapper().readValue(text, java.util.Map.class)); }"
                    + " catch (Exception e) { throw new IllegalArgumentException(e); } } }");

    @TempDir
    Path classes;

    private static JavaFileObject source(String name, String text) {
        return new SimpleJavaFileObject(URI.create("string:///" + name.replace('.', '/') + ".java"), JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                return text;
            }
        };
    }

    private static String snippet() throws Exception {
        String docs = Files.readString(Path.of("../../../docs/java.md"));
        Matcher block = Pattern.compile("<!-- java: PythonExecute -->\\n```java\\n(.*?)```", Pattern.DOTALL).matcher(docs);
        assertTrue(block.find());
        Matcher imports = Pattern.compile("`(com\\.alibaba\\.(?:fastjson|langengine\\.core)\\.[A-Za-z.]+)`").matcher(docs.substring(block.end()));
        return imports.results().map(found -> "import " + found.group(1) + ";\n").collect(Collectors.joining())
                + "import com.alibaba.langengine.pyexecutor.*;\n" + block.group(1);
    }

    private Object tool(PyExecutor executor) throws Exception {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter said = new StringWriter();
        List<JavaFileObject> sources = STAND_INS.entrySet().stream().map(entry -> source(entry.getKey(),
                "package " + entry.getKey().substring(0, entry.getKey().lastIndexOf('.')) + ";\n" + entry.getValue())).collect(Collectors.toList());
        sources.add(source("PythonExecute", snippet()));
        assertTrue(compiler.getTask(said, null, null, List.of("-proc:none", "-d", classes.toString(), "-cp", System.getProperty("java.class.path")),
                null, sources).call(), said.toString());
        ClassLoader loader = new URLClassLoader(new URL[] {classes.toUri().toURL()}, getClass().getClassLoader());
        return loader.loadClass("PythonExecute").getConstructor(PyExecutor.class).newInstance(executor);
    }

    private static String run(Object tool, String code) throws Exception {
        Method run = tool.getClass().getMethod("run", String.class);
        Object result = run.invoke(tool, "{\"code\": \"" + code + "\"}");
        return (String) result.getClass().getMethod("getOutput").invoke(result);
    }

    @Test
    void theDocumentedToolCompilesAndRuns() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMillis(500));
        try (PyExecutor executor = new PyExecutor(policy)) {
            Object tool = tool(executor);
            assertEquals("python_execute", tool.getClass().getMethod("getName").invoke(tool));
            assertEquals("object", Json.parseObject((String) tool.getClass().getMethod("getParameters").invoke(tool)).get("type"));
            assertEquals("42", run(tool, "6 * 7"));
            assertTrue(run(tool, "1 / 0").contains("ZeroDivisionError: division by zero"));
            assertTrue(run(tool, "import time\\ntime.sleep(9)").contains("TimeoutError: timeout"));
            assertTrue(run(tool, "a\\u0000").startsWith("The code did not run: "));
        }
    }
}
