package com.alibaba.langengine.pyexecutor.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class PyExecutorDemoTest {
    @Test
    void theDemoShowsWhatTheGuideSays() throws Exception {
        ByteArrayOutputStream shown = new ByteArrayOutputStream();
        PrintStream before = System.out;
        System.setOut(new PrintStream(shown, true, StandardCharsets.UTF_8));
        try {
            PyExecutorDemo.main(new String[0]);
        } finally {
            System.setOut(before);
        }
        String[] lines = shown.toString(StandardCharsets.UTF_8).split("\n");
        assertEquals("== A single run|last value: 50|== A session|last value: [1, 2, 3, 4]|== An error|exit code: 1"
                + "|error: ZeroDivisionError: division by zero|Traceback (most recent call last):|  File \"<cell>\", line 1, in <module>"
                + "|    result = 1 / 0", String.join("|", java.util.Arrays.copyOf(lines, 10)));
        assertEquals("ZeroDivisionError: division by zero", lines[lines.length - 1]);
        assertFalse(Files.exists(Path.of(System.getProperty("java.io.tmpdir"), "pyexecutor-demo")), "the session's folder goes with it");
    }
}
