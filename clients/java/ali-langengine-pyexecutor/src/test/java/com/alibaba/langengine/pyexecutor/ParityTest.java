package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Behaviour of the original that its callers rely on: single runs. */
class ParityTest extends OnHost {
    private final PyExecutionPolicy policyOfAll = new PyExecutionPolicy();
    private PyExecutor executor;

    @BeforeAll
    void open() throws Exception {
        executor = host.executor(policyOfAll, null);
    }

    @AfterAll
    void close() throws Exception {
        executor.close();
    }

    private PyExecutionResult run(String code) throws Exception {
        return executor.executeOnce(code, null);
    }

    /** Runs the code with another policy. */
    private PyExecutionResult run(PyExecutionPolicy policy, String code, PyExecutionOptions options) throws Exception {
        try (PyExecutor other = host.executor(policy, null)) {
            return other.executeOnce(code, options);
        }
    }

    private static PyExecutionPolicy files() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setDisableOpen(false);
        policy.getAllowedImports().add("os");
        return policy;
    }

    @Test
    void theGuidesFirstExample() throws Exception {
        PyExecutionResult result = run("a = 5\nb = 10\na * b");
        assertEquals(0, result.getExitCode());
        assertEquals("50", result.getLastValueRepr());
        assertEquals(PyExecutionResult.Status.OK, result.getStatus());
        assertTrue(result.isOk());
        assertNull(result.getErrorRepr());
        assertNull(result.getError());
        assertNull(result.getSession());
    }

    @Test
    void anUncaughtExceptionIsAResult() throws Exception {
        PyExecutionResult result = run("x = 1\nresult = 1 / 0");
        assertEquals(1, result.getExitCode());
        assertEquals("ZeroDivisionError: division by zero", result.getErrorRepr());
        assertEquals("Traceback (most recent call last):\n  File \"<cell>\", line 2, in <module>\n    result = 1 / 0\n",
                result.getStderr().substring(0, result.getStderr().indexOf("    ", result.getStderr().indexOf("1 / 0"))));
        assertEquals("ZeroDivisionError", result.getError().type());
        assertEquals("division by zero", result.getError().message());
        assertEquals(2, result.getError().line());
        assertEquals(result.getStderr(), result.getError().traceback());
    }

    @Test
    void emptyStreamsOfASingleRunAreEmpty() throws Exception {
        PyExecutionResult result = run("1");
        assertEquals("", result.getStdout());
        assertEquals("", result.getStderr());
    }

    @Test
    void bothStreamsAreKept() throws Exception {
        policyOfAll.getAllowedImports().add("sys");
        try {
            PyExecutionResult result = run("import sys\nprint('out')\nprint('err', file=sys.stderr)");
            assertEquals("out\n", result.getStdout());
            assertEquals("err\n", result.getStderr());
            assertEquals(4, result.getStdoutBytes());
            assertEquals(4, result.getStderrBytes());
            assertFalse(result.isStdoutTruncated());
            assertFalse(result.isStderrTruncated());
        } finally {
            policyOfAll.getAllowedImports().remove("sys");
        }
    }

    @Test
    void nullCodeIsANullPointerException() {
        assertThrows(NullPointerException.class, () -> executor.executeOnce(null, null));
        assertThrows(NullPointerException.class, () -> executor.executeOnce(null, new PyExecutionOptions()));
        assertThrows(NullPointerException.class, () -> executor.executeOnceAsync(null, null));
    }

    @Test
    void nullPolicyIsTheDefaults() throws Exception {
        assertEquals("3", run(null, "1 + 2", null).getLastValueRepr());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "   ", "\n\n", "\t\n", "# only a comment", "\r\n"})
    void blankCodeIsOk(String code) throws Exception {
        PyExecutionResult result = run(code);
        assertEquals(0, result.getExitCode());
        assertNull(result.getLastValueRepr());
        assertEquals("", result.getStdout());
    }

    @ParameterizedTest
    @ValueSource(strings = {"héllo", "你好，世界", "😀👩‍👩‍👧", "a\u2028b\u2029c", "\u0001\u001f\u007f", "\"quoted\" \\ back"})
    void unicodeArrivesAndReturnsAsItIs(String text) throws Exception {
        String literal = "'" + text.replace("\\", "\\\\") + "'";
        PyExecutionResult result = run("print(" + literal + ", end='')\nlen(" + literal + ")");
        assertEquals(text, result.getStdout());
        assertEquals(Integer.toString(text.codePointCount(0, text.length())), result.getLastValueRepr());
    }

    @ParameterizedTest
    @ValueSource(strings = {"a = '\ud800'", "a = '\udc00x'", "a = 1\0", "\0"})
    void codeThatCannotBeIsAnIllegalArgument(String code) {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> run(code)).getMessage().startsWith("code: "));
    }

    @Test
    void tooLongCodeIsAnIllegalArgument() {
        String message = assertThrows(IllegalArgumentException.class, () -> run("#" + "x".repeat(11 << 20))).getMessage();
        assertTrue(message.startsWith("code: 11534337 bytes are more than"), message);
        message = assertThrows(IllegalArgumentException.class, () -> run("#" + "x".repeat(33 << 20))).getMessage();
        assertTrue(message.contains("longer than 32 MiB"), message);
    }

    @Test
    void longCodeAndLongOutputArriveWhole() throws Exception {
        PyExecutionResult result = run("x = '" + "y".repeat(3 << 20) + "'\nprint(x[:900000])\nlen(x)");
        assertEquals(Integer.toString(3 << 20), result.getLastValueRepr());
        assertEquals("y".repeat(900000) + "\n", result.getStdout());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"status\":\"ok\"}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"output\",\"params\":{}}",
        "\\x00\\xff", "__PYEXEC_RESULT__{}", "<<RESULT>>1<<RESULT>>"})
    void outputThatImitatesTheProtocolIsOutput(String line) throws Exception {
        PyExecutionResult result = run("print('''" + line + "''')\nprint('''\\n" + line + "\\n''')\n7");
        assertEquals("7", result.getLastValueRepr());
        assertTrue(result.getStdout().endsWith("\n\n"));
        assertEquals("1", run("1").getLastValueRepr());
    }

    @ParameterizedTest
    @CsvSource({"import sys; sys.exit(0),0,", "import sys; sys.exit(7),7,SystemExit: 7", "raise SystemExit(3),3,SystemExit: 3"})
    void exitCodesOfSysExit(String code, int exitCode, String error) throws Exception {
        policyOfAll.getAllowedImports().add("sys");
        try {
            PyExecutionResult result = run(code);
            assertEquals(exitCode, result.getExitCode());
            assertEquals(error, result.getErrorRepr());
        } finally {
            policyOfAll.getAllowedImports().remove("sys");
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "import os | ImportError: import 'os' not allowed",
        "import subprocess | ImportError: import 'subprocess' not allowed",
        "import socket; socket.create_connection(('127.0.0.1', 80)) | network disabled",
        "open('x') | PermissionError: open() disabled"})
    void phrasesUnderTheDefaultPolicy(String code, String phrase) throws Exception {
        PyExecutionResult result = run(code);
        assertEquals(1, result.getExitCode());
        assertTrue(result.getErrorRepr().contains(phrase), result.getErrorRepr());
        assertFalse(result.getDenials().isEmpty());
        assertNotNull(result.getDenials().get(0).hint());
        assertEquals(1, result.getDenials().get(0).line());
    }

    @Test
    void aBannedImportIsNamedSo() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setUseImportWhitelist(false);
        assertTrue(run(policy, "import subprocess", null).getErrorRepr().startsWith("ImportError: import 'subprocess' banned"));
        assertEquals("True", run(policy, "import platform\nbool(platform.system())", null).getLastValueRepr());
        policy.getBannedImports().clear();
        policy.getBannedImports().add("platform");
        assertTrue(run(policy, "import platform", null).getErrorRepr().startsWith("ImportError: import 'platform' banned"));
    }

    @Test
    void aReadOnlyPolicyForbidsWriting() throws Exception {
        PyExecutionPolicy policy = files();
        policy.setAllowReadonlyOpen(true);
        assertTrue(run(policy, "open('x', 'w')", null).getErrorRepr().startsWith("PermissionError: write forbidden"));
    }

    @Test
    void filesOutsideTheWorkspaceAreOutsideTheSandbox() throws Exception {
        String error = run(files(), "open('/etc/hostname')", null).getErrorRepr();
        assertTrue(error.contains("outside sandbox"), error);
    }

    @Test
    void dunderImportsAreBlocked() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setUseImportWhitelist(false);
        assertTrue(run(policy, "import __main__", null).getErrorRepr().startsWith("ImportError: import '__main__'"));
        policy.setBlockDunderImports(false);
        assertEquals(0, run(policy, "import __main__", null).getExitCode());
    }

    @Test
    void theImportSetsAreLive() throws Exception {
        assertTrue(run("import platform").getErrorRepr().contains("not allowed"));
        policyOfAll.getAllowedImports().add("platform");
        assertEquals(0, run("import platform").getExitCode());
        policyOfAll.getAllowedImports().remove("platform");
        assertTrue(run("import platform").getErrorRepr().contains("not allowed"));
        assertSame(policyOfAll.getAllowedImports(), policyOfAll.getAllowedImports());
    }

    @Test
    void thePolicyIsReadAtEachRun() throws Exception {
        policyOfAll.setPrintLastExpression(false);
        assertNull(run("42").getLastValueRepr());
        policyOfAll.setPrintLastExpression(true);
        assertEquals("42", run("42").getLastValueRepr());
    }

    @Test
    void thePolicysDefaults() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        assertEquals(System.getenv().getOrDefault("PYTHON_BIN", "python3"), policy.getPythonBin());
        assertEquals(Duration.ofSeconds(5), policy.getTimeout());
        assertEquals(1000000L, policy.getMaxStdoutBytes());
        assertEquals(256000L, policy.getMaxStderrBytes());
        assertTrue(policy.isUseImportWhitelist() && policy.isBlockDunderImports() && policy.isDisableOpen()
                && policy.isDisableNetworking() && policy.isPrintLastExpression() && policy.isIsolateSite());
        assertFalse(policy.isAllowReadonlyOpen());
        assertEquals(2, policy.getCpuTimeSeconds());
        assertEquals(536870912L, policy.getAddressSpaceBytes());
        assertEquals(16, policy.getMaxOpenFiles());
    }

    @Test
    void aTimeoutIsThrownWithItsResult() {
        PyExecutionOptions options = new PyExecutionOptions().setTimeout(Duration.ofMillis(300));
        TimeoutException thrown = assertThrows(TimeoutException.class,
                () -> executor.executeOnce("import time\nprint('before')\ntime.sleep(60)", options));
        PyExecutionResult result = ((PyExecutionTimeoutException) thrown).getResult();
        assertEquals(124, result.getExitCode());
        assertEquals("before\n", result.getStdout());
        assertEquals(PyExecutionResult.Status.TIMEOUT, result.getStatus());
        assertTrue(thrown.getMessage().startsWith("TimeoutError: timeout"), thrown.getMessage());
        assertTrue(result.getElapsedMs() >= 300 && result.getElapsedMs() < 60000, result.getElapsedMs() + " ms");
    }

    @Test
    void theScriptsOwnTimeoutErrorIsAResult() throws Exception {
        assertEquals("TimeoutError: mine", run("raise TimeoutError('mine')").getErrorRepr());
    }

    @Test
    void otherLimitsAreResults() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setCpuTimeSeconds(1);
        policy.setTimeout(Duration.ofSeconds(60));      // long enough for a second of CPU time on a busy machine
        PyExecutionResult cpu = run(policy, "i = 0\nwhile True: i += 1", null);
        assertEquals(PyExecutionResult.Status.CPU_LIMIT, cpu.getStatus());
        assertTrue(cpu.getErrorRepr().startsWith("TimeoutError: timeout"), cpu.getErrorRepr());
        PyExecutionResult memory = run("x = [0] * 10**10");
        assertEquals(PyExecutionResult.Status.MEMORY_LIMIT, memory.getStatus());
        assertTrue(memory.getErrorRepr().startsWith("MemoryError"), memory.getErrorRepr());
    }

    @Test
    void outputBeyondTheLimitIsCutBetweenCharacters() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setMaxStdoutBytes(10);
        policy.setMaxStderrBytes(4);
        policy.setMaxValueBytes(5);
        policy.getAllowedImports().add("sys");
        PyExecutionResult result = run(policy, "import sys\nprint('äöüßä' * 100)\nprint('abcdef', file=sys.stderr)\n'x' * 100", null);
        assertEquals("äöüßä", result.getStdout());
        assertTrue(result.isStdoutTruncated());
        assertEquals(1001, result.getStdoutBytes());
        assertEquals("abcd", result.getStderr());
        assertTrue(result.isStderrTruncated());
        assertTrue(result.isLastValueTruncated());
        policy.setMaxStdoutBytes(0);
        assertEquals("", run(policy, "print(1)", null).getStdout());
    }

    @Test
    void aValueOutOfRangeIsAnInvalidPolicy() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setMaxOpenFiles(-1);
        PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> run(policy, "1", null));
        assertEquals("invalid_policy", thrown.getCode());
        assertTrue(thrown.getMessage().contains("max_open_files can't be -1"), thrown.getMessage());
        assertNotNull(thrown.getHint());
    }

    @Test
    void environmentVariablesHoldForOneRunAndBringOs() throws Exception {
        PyExecutionOptions options = new PyExecutionOptions().putEnv("GREETING", "hällo").putEnv("EMPTY", "");
        assertEquals(Map.of("GREETING", "hällo", "EMPTY", ""), options.getExtraEnv());
        assertEquals("('hällo', '')", executor.executeOnce("import os\nos.environ['GREETING'], os.environ['EMPTY']", options)
                .getLastValueRepr());
        assertTrue(run("import os").getErrorRepr().contains("not allowed"));
        assertTrue(executor.executeOnce("import os", new PyExecutionOptions()).getErrorRepr().contains("not allowed"));
    }

    @Test
    void aBadEnvironmentVariableIsAnIllegalArgument() {
        PyExecutionOptions options = new PyExecutionOptions().putEnv("A=B", "x");
        assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", options));
    }

    @Test
    void theLastExpressionIsAsTheOptionsSay() throws Exception {
        assertNull(executor.executeOnce("42", new PyExecutionOptions().setPrintLastExpression(false)).getLastValueRepr());
        assertEquals("42", executor.executeOnce("42", new PyExecutionOptions().setPrintLastExpression(null)).getLastValueRepr());
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setPrintLastExpression(false);
        assertEquals("42", run(policy, "42", new PyExecutionOptions().setPrintLastExpression(true)).getLastValueRepr());
        assertNull(run("None").getLastValueRepr());
    }

    @ParameterizedTest
    @ValueSource(strings = {"../x", "a/../../x", "/etc", ".."})
    void aWorkingDirectoryThatLeavesIsAnIllegalArgument(String folder) {
        PyExecutionOptions options = new PyExecutionOptions().setWorkingDirRelative(folder);
        for (PyExecutionPolicy policy : new PyExecutionPolicy[] {new PyExecutionPolicy(), files()}) {
            String message = assertThrows(IllegalArgumentException.class, () -> run(policy, "1", options)).getMessage();
            assertTrue(message.startsWith("outside sandbox: "), message);
        }
    }

    @Test
    void aWorkingDirectoryThatIsNotThereIsMadeInTheRunsOwn() throws Exception {
        PyExecutionOptions options = new PyExecutionOptions().setWorkingDirRelative("not-there/deep").putEnv("A", "1");
        assertEquals("True", run(new PyExecutionPolicy(), "import os\nos.getcwd().endswith('/not-there/deep')", options).getLastValueRepr());
        assertEquals("True", run(files(), "open('x', 'w').write('1')\nimport os\nos.getcwd().endswith('/not-there/deep')", options)
                .getLastValueRepr());
        assertFalse(Files.exists(Paths.get(System.getProperty("java.io.tmpdir"), "not-there")));
    }

    @Test
    void filesAreSentAndReturned() throws Exception {
        byte[] bytes = {0, 1, (byte) 0xff, 10};
        PyExecutionOptions options = new PyExecutionOptions().putFile("in.bin", bytes).setReturnFiles("*.bin").setStdin("typed");
        PyExecutionResult result = run(files(), "d = open('in.bin', 'rb').read()\nopen('out.bin', 'wb').write(d[::-1])\ninput()", options);
        assertEquals("'typed'", result.getLastValueRepr());
        assertEquals(1, result.getFiles().size());
        byte[] content = result.getFiles().get(0).content();
        assertEquals(10, content[0]);
        assertEquals(4, content.length);
    }

    @Test
    void variablesAreSetBeforeTheCodeRuns() throws Exception {
        Map<String, Object> nested = Map.of("list", List.of(1, 2.5, "x", true), "big", Long.MAX_VALUE);
        PyExecutionOptions options = new PyExecutionOptions().setInputs(Map.of("n", 20, "given", nested)).putInput("none", null);
        assertEquals("(40, None, [1, 2.5, 'x', True], 9223372036854775807)",
                executor.executeOnce("n * 2, none, given['list'], given['big']", options).getLastValueRepr());
        for (Object bad : new Object[] {Double.NaN, Double.POSITIVE_INFINITY, new Object(), Map.of(1, 2)}) {
            assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", new PyExecutionOptions().putInput("x", bad)));
            assertThrows(ExecutionException.class, () -> executor.executeOnceAsync("1", new PyExecutionOptions().putInput("x", bad)).get());
        }
        assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", new PyExecutionOptions().putInput("a b", 1)));
        List<Object> inItself = new ArrayList<>();
        inItself.add(inItself);
        assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", new PyExecutionOptions().putInput("x", inItself)));
        assertEquals("1", run("1").getLastValueRepr());
    }

    @Test
    void theLastValueAsJson() throws Exception {
        PyExecutionOptions records = new PyExecutionOptions().setValueJson("records");
        PyExecutionResult result = executor.executeOnce("{'a': [1, 2.5, None, 'x'], 'n': -2**63, 'm': 2**63 - 1}", records);
        assertEquals(Arrays.asList(1L, 2.5, null, "x"), ((Map<?, ?>) result.getLastValueJson()).get("a"));
        assertEquals(Long.MIN_VALUE, ((Map<?, ?>) result.getLastValueJson()).get("n"));
        assertEquals(Long.MAX_VALUE, ((Map<?, ?>) result.getLastValueJson()).get("m"));
        assertNull(result.getLastValueJsonError());
        result = executor.executeOnce("object()", records);
        assertNull(result.getLastValueJson());
        assertNotNull(result.getLastValueJsonError());
        assertNull(run("1").getLastValueJson());
        assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", new PyExecutionOptions().setValueJson("rows")));
    }

    @Test
    void whatIsDisplayed() throws Exception {
        String code = "class R:\n  def _repr_html_(self): return '<b>hi</b>'\n  def _repr_png_(self): return b'\\x89PNG'\ndisplay(R())\nR()";
        PyExecutionResult result = run(code);
        assertEquals(2, result.getDisplays().size(), () -> result.toText());
        PyExecutionResult.Display first = result.getDisplays().get(0);
        assertEquals("<b>hi</b>", first.data().get("text/html"));
        assertArrayEquals(new byte[] {(byte) 0x89, 'P', 'N', 'G'}, first.bytes("image/png"));
        assertNull(first.bytes("image/jpeg"));
        assertEquals(List.of(false, true), result.getDisplays().stream().map(PyExecutionResult.Display::lastValue).collect(Collectors.toList()));
        assertEquals(0, result.getDisplayDropped());
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setMaxDisplays(1);
        assertEquals(1, run(policy, code, null).getDisplays().size());
        assertEquals(1, run(policy, code, null).getDisplayDropped());
        policy.setMaxDisplays(100);
        policy.setMaxDisplayBytes(5);
        assertEquals(2, run(policy, code, null).getDisplayDropped());
    }

    @Test
    void theOriginalsConstructorOfResults() {
        PyExecutionResult result = new PyExecutionResult(1, "o", true, "e", false, 12, "v", "E: m");
        assertEquals(1, result.getExitCode());
        assertEquals("o", result.getStdout());
        assertTrue(result.isStdoutTruncated());
        assertEquals("e", result.getStderr());
        assertFalse(result.isStderrTruncated());
        assertEquals(12, result.getElapsedMs());
        assertEquals("v", result.getLastValueRepr());
        assertEquals("E: m", result.getErrorRepr());
        assertTrue(result.getDenials().isEmpty() && result.getFiles().isEmpty() && result.getMissingLayers().isEmpty());
        assertEquals(12.0, result.getUsage().wallMillis());
    }

    @Test
    void theTextForModelsHasAllThereIs() throws Exception {
        assertEquals("a\nb\n42", run("print('a')\nprint('b')\n42").toText());
        assertEquals("a\n42", run("print('a', end='')\n42").toText());
        assertEquals("(ok, no output)", run("x = 1").toText());
        String text = run("print('a')\n1 / 0").toText();
        assertTrue(text.startsWith("a\nTraceback") && text.endsWith("ZeroDivisionError: division by zero\n"), text);
        assertEquals("E: m", new PyExecutionResult(1, "", false, "", false, 1, null, "E: m").toText());
        String syntax = run("x ==== 1").toText();
        assertEquals(syntax.indexOf("invalid syntax"), syntax.lastIndexOf("invalid syntax"), syntax);
        assertEquals("'first'", run("display('first')").toText());
        assertEquals("plain\n[display: text/html]", run("class Rich:\n    def __repr__(self): return 'plain'\n"
                + "    def _repr_html_(self): return '<b>'\nRich()").toText());
    }

    @Test
    void theTextForModelsIsBoundedBetweenCharacters() {
        for (String letter : new String[] {"a", "å", "€", "🐍"}) {
            for (String shift : new String[] {"", "x", "xx", "xxx"}) {
                String all = shift + letter.repeat(50_000);
                String text = new PyExecutionResult(1, all, false, "", false, 1, null, "E: m").toText();
                String[] parts = text.split("\\n\\[\\.\\.\\. | bytes left out \\.\\.\\.\\]\\n");
                assertTrue(all.startsWith(parts[0]) && (all + "\nE: m").endsWith(parts[2]), text);
                int kept = parts[0].getBytes(StandardCharsets.UTF_8).length + parts[2].getBytes(StandardCharsets.UTF_8).length;
                assertTrue(kept > 19_990 && kept <= 20_000, kept + " bytes");
                assertEquals((all + "\nE: m").getBytes(StandardCharsets.UTF_8).length, kept + Integer.parseInt(parts[1]));
            }
        }
    }

    @Test
    void elapsedTimeIsReal() throws Exception {
        PyExecutionResult result = run("import time\ntime.sleep(0.2)");
        assertTrue(result.getElapsedMs() >= 200, result.getElapsedMs() + " ms");
        assertTrue(result.getUsage().peakMemoryBytes() > 1 << 20);
    }

    @Test
    void withoutSessionsTheyAreRefused() throws Exception {
        assertEquals("session mode not enabled", assertThrows(IllegalStateException.class,
                () -> executor.execute("s", "1", null)).getMessage());
        assertThrows(IllegalStateException.class, () -> executor.executeAsync("s", "1", null));
        try (PyExecutor off = host.executor(null, new SessionConfig().setEnabled(false))) {
            assertThrows(IllegalStateException.class, () -> off.execute("s", "1", null));
            assertEquals("1", off.executeOnce("1", null).getLastValueRepr());
            off.closeSession("s");
            off.closeAll();
        }
    }
}
