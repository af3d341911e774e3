package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The Java examples of docs/tools.md and docs/branches.md, compiled and run as they stand there. */
class ToolSnippetTest {
    @TempDir
    Path classes;

    private static JavaFileObject source(String name, String text) {
        return new SimpleJavaFileObject(URI.create("string:///" + name + ".java"), JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                return text;
            }
        };
    }

    @Test
    void theExampleOfToolsPrintsWhatItSays() throws Exception {
        assertPrints("tools.md", "Weather");
    }

    @Test
    void theExampleOfBranchesPrintsWhatItSays() throws Exception {
        assertPrints("branches.md", "TreeSearch");
    }

    private void assertPrints(String page, String name) throws Exception {
        Matcher found = Pattern.compile("<!-- java: " + name + " -->\\n```java\\n(.*?)```.*?<!-- java output: " + name + " -->\\n```\\n(.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(Path.of("../../../docs/" + page)));
        assertTrue(found.find());
        StringWriter said = new StringWriter();
        assertTrue(ToolProvider.getSystemJavaCompiler().getTask(said, null, null,
                List.of("-proc:none", "-d", classes.toString(), "-cp", System.getProperty("java.class.path")), null,
                List.of(source(name, found.group(1)))).call(), said.toString());
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream before = System.out;
        try (URLClassLoader loader = new URLClassLoader(new URL[] {classes.toUri().toURL()}, getClass().getClassLoader())) {
            System.setOut(new PrintStream(printed, true));
            loader.loadClass(name).getMethod("main", String[].class).invoke(null, (Object) new String[0]);
        } finally {
            System.setOut(before);
        }
        assertEquals(found.group(2), printed.toString());
    }
}
