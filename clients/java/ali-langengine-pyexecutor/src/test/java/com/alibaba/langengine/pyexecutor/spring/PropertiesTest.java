package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.HostConfig;
import com.alibaba.langengine.pyexecutor.NativePolicy;
import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.context.properties.bind.BindException;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;
import org.springframework.boot.convert.ApplicationConversionService;
import org.springframework.boot.convert.DurationStyle;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.core.convert.TypeDescriptor;
import org.springframework.format.support.DefaultFormattingConversionService;

/** Names, defaults, descriptions and forms of the Spring properties, against the native program's own table. */
class PropertiesTest {
    private static final String PREFIX = "ali.langengine.pyexecutor.";

    private static PyExecutorProperties bind(String... pairs) {
        Map<String, String> map = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            map.put(PREFIX + pairs[i], pairs[i + 1]);
        }
        DefaultFormattingConversionService ours = new DefaultFormattingConversionService(false);
        ours.addConverter(PyExecutorAutoConfiguration.pyExecutorPropertyConverter());
        return new Binder(List.of(new MapConfigurationPropertySource(map)), null,
                List.of(ours, ApplicationConversionService.getSharedInstance()), null, null, null)
                .bindOrCreate("ali.langengine.pyexecutor", PyExecutorProperties.class);
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Map<String, Object>> metadata() throws Exception {
        Map<String, Map<String, Object>> found = new LinkedHashMap<>();
        try (InputStream in = PyExecutorProperties.class.getResourceAsStream("/META-INF/spring-configuration-metadata.json")) {
            Map<String, Object> all = NativePolicy.json(new String(in.readAllBytes(), StandardCharsets.UTF_8));
            for (Map<String, Object> property : (List<Map<String, Object>>) all.get("properties")) {
                found.put((String) property.get("name"), property);
            }
        }
        return found;
    }

    @Test
    void everyKeyOfThePolicyTableHasAPropertyWithItsDefaultAndADescription() throws Exception {
        Map<String, Map<String, Object>> metadata = metadata();
        Map<String, Object> table = NativePolicy.defaults();
        for (Map.Entry<String, Object> key : table.entrySet()) {
            // The property has no unit in its name, because it is a Duration.
            String name = key.getKey().replaceFirst("timeout_ms$", "timeout").replace('_', '-');
            Map<String, Object> property = metadata.get(PREFIX + name);
            assertNotNull(property, name);
            Object value = property.get("defaultValue");
            if (name.equals("timeout")) {
                value = DurationStyle.detectAndParse((String) value).toMillis();
            }
            assertEquals(key.getValue(), value, name);
        }
        for (Map<String, Object> property : metadata.values()) {
            assertTrue(String.valueOf(property.get("description")).length() > 20, property.toString());
        }
    }

    @Test
    void thePolicysDefaultsAreTheTables() throws Exception {
        assertEquals(NativePolicy.defaults(), NativePolicy.of(new PyExecutionPolicy()));
        assertEquals(NativePolicy.defaults(), NativePolicy.of(bind().toPolicy()));
    }

    @Test
    void theSessionsDefaultsAreTheOriginals() {
        SessionConfig made = bind().toSessionConfig();
        SessionConfig original = new SessionConfig();
        assertEquals(original.isEnabled(), made.isEnabled());
        assertEquals(original.getMaxCount(), made.getMaxCount());
        assertEquals(original.getIdleTtl(), made.getIdleTtl());
        assertEquals(original.getHardTtl(), made.getHardTtl());
        assertEquals(original.getWorkspaceRoot(), made.getWorkspaceRoot());
        assertEquals(new HostConfig().getAnswerTimeout(), bind().toHostConfig().getAnswerTimeout());
        assertNull(bind().toHostConfig().getUrl());
    }

    @Test
    void everyPropertyIsBound() {
        PyExecutorProperties properties = bind("python-bin", "/usr/bin/python3", "timeout", "2s", "cpu-time-seconds", "none",
                "address-space-bytes", "1GiB", "max-open-files", "none", "max-stdout-bytes", "10K", "max-stderr-bytes", "5",
                "max-value-bytes", "2kb", "max-displays", "3", "max-display-bytes", "4K", "disable-networking", "false", "allowed-hosts", "a.example,*.b.example:8443", "disable-open", "false", "allow-readonly-open", "true",
                "use-import-whitelist", "false", "allowed-imports", "math,json", "banned-imports", "", "block-dunder-imports", "false",
                "print-last-expression", "false", "isolate-site", "false", "preload-imports", "json", "environment", "data", "allowed-environments", "data,ml", "workspace-bytes", "1M",
                "max-threads", "3", "max-tool-calls", "9", "tool-timeout", "2m", "forkable", "true", "auto-checkpoint", "true", "max-checkpoints", "9", "session-enabled", "false", "session-max-count", "7", "session-idle-ttl", "90s",
                "session-hard-ttl", "none", "workspace-root", "/srv/w", "executable", "/opt/pyexec", "allow-missing", "landlock",
                "queue-length", "9", "max-concurrent", "2", "max-asleep", "3", "verify-at-startup", "false", "url", "http://h", "token", "t",
                "session-prefix", "p.", "answer-timeout", "none", "retry-overloaded", "3s");
        PyExecutionPolicy policy = properties.toPolicy();
        assertEquals("/usr/bin/python3", policy.getPythonBin());
        assertEquals(Duration.ofSeconds(2), policy.getTimeout());
        assertNull(policy.getCpuTimeSeconds());
        assertEquals(1L << 30, policy.getAddressSpaceBytes());
        assertNull(policy.getMaxOpenFiles());
        assertEquals(10240, policy.getMaxStdoutBytes());
        assertEquals(5, policy.getMaxStderrBytes());
        assertEquals(2048, policy.getMaxValueBytes());
        assertEquals(3, policy.getMaxDisplays());
        assertEquals(4096, policy.getMaxDisplayBytes());
        assertFalse(policy.isDisableNetworking() || policy.isDisableOpen() || policy.isUseImportWhitelist()
                || policy.isBlockDunderImports() || policy.isPrintLastExpression() || policy.isIsolateSite());
        assertTrue(policy.isAllowReadonlyOpen());
        assertEquals(Set.of("a.example", "*.b.example:8443"), policy.getAllowedHosts());
        assertEquals(Set.of("a.example", "*.b.example:8443"), policy.copy().getAllowedHosts());
        assertEquals(Set.of("math", "json"), policy.getAllowedImports());
        assertEquals(Set.of(), policy.getBannedImports());
        assertEquals(List.of("json"), policy.getPreloadImports());
        assertEquals("data", policy.getEnvironment());
        assertEquals(List.of("data", "ml"), policy.getAllowedEnvironments());
        assertEquals(1 << 20, policy.getWorkspaceBytes());
        assertEquals(3, policy.getMaxThreads());
        assertEquals(9, policy.getMaxToolCalls());
        assertEquals(Duration.ofMinutes(2), policy.getToolTimeout());
        assertTrue(policy.isForkable());
        assertTrue(policy.isAutoCheckpoint());
        assertEquals(9, policy.getMaxCheckpoints());
        SessionConfig sessions = properties.toSessionConfig();
        assertFalse(sessions.isEnabled());
        assertEquals(7, sessions.getMaxCount());
        assertEquals(Duration.ofSeconds(90), sessions.getIdleTtl());
        assertNull(sessions.getHardTtl());
        assertEquals("/srv/w", sessions.getWorkspaceRoot());
        assertEquals("/opt/pyexec", properties.toHostConfig().getExecutable());
        assertEquals(List.of("landlock"), properties.toHostConfig().getAllowMissing());
        assertEquals(9, properties.toHostConfig().getQueueLength());
        assertEquals(2, properties.toHostConfig().getMaxConcurrent());
        assertEquals(3, properties.toHostConfig().getMaxAsleep());
        assertEquals(Duration.ofSeconds(3), properties.toHostConfig().getRetryOverloaded());
        assertFalse(properties.isVerifyAtStartup());
        assertEquals("http://h", properties.toHostConfig().getUrl());
        assertEquals("t", properties.toHostConfig().getToken());
        assertEquals("p.", properties.toHostConfig().getSessionPrefix());
        assertNull(properties.toHostConfig().getAnswerTimeout());
    }

    @ParameterizedTest
    @CsvSource({"5s,5000", "250ms,250", "2m,120000", "1h,3600000", "1500,1500", "PT3S,3000"})
    void durationsAreTheContractsAndSprings(String text, long millis) {
        assertEquals(millis, bind("timeout", text).toPolicy().getTimeout().toMillis());
        assertEquals(millis, bind("session-idle-ttl", text).toSessionConfig().getIdleTtl().toMillis());
    }

    @ParameterizedTest
    @CsvSource({"max-stdout-bytes,lots", "max-stdout-bytes,none", "address-space-bytes,1T", "cpu-time-seconds,2x", "workspace-bytes,''", "max-open-files,99999999999", "session-idle-ttl,soon"})
    void whatIsNoSizeIsRefusedByName(String key, String value) {
        Throwable thrown = assertThrows(BindException.class, () -> bind(key, value));
        while (thrown.getCause() != null) {
            thrown = thrown.getCause();
        }
        assertTrue(thrown.getMessage().contains(PREFIX + key) && thrown.getMessage().contains("accepted is"), thrown.getMessage());
    }

    @Test
    void aNegativeByteCapIsTheDefaultAsInTheOriginal() throws Exception {
        assertEquals(NativePolicy.defaults(), NativePolicy.of(bind("max-stdout-bytes", "-1", "max-stderr-bytes", "-1").toPolicy()));
    }

    @Test
    void theGettersHaveTheOriginalsDefaults() {
        PyExecutorProperties properties = bind();
        assertEquals(System.getenv().getOrDefault("PYTHON_BIN", "python3"), properties.getPythonBin());
        assertEquals(Set.of(), properties.getAllowedImports());
        assertEquals(Set.of(), properties.getBannedImports());
        assertEquals(System.getProperty("java.io.tmpdir"), properties.getWorkspaceRoot());
        properties.getAllowedImports().add("os");
        assertEquals(Set.of("os"), properties.toPolicy().getAllowedImports());
    }

    /** Uses the converter that Spring finds. */
    @Test
    void anApplicationReadsThem() {
        try (ConfigurableApplicationContext context = new SpringApplicationBuilder(PyExecutorAutoConfiguration.class)
                .web(WebApplicationType.NONE).properties(PREFIX + "verify-at-startup=false", PREFIX + "max-stdout-bytes=1M",
                        PREFIX + "cpu-time-seconds=none", PREFIX + "address-space-bytes=none", PREFIX + "max-open-files=none",
                        PREFIX + "session-idle-ttl=none", PREFIX + "session-hard-ttl=2h").run()) {
            PyExecutorProperties properties = context.getBean(PyExecutorProperties.class);
            assertEquals(1 << 20, properties.getMaxStdoutBytes());
            assertNull(properties.getCpuTimeSeconds());
            assertNull(properties.getAddressSpaceBytes());
            assertNull(properties.getMaxOpenFiles());
            assertNull(properties.getSessionIdleTtl());
            assertEquals(Duration.ofHours(2), properties.getSessionHardTtl());
        }
        assertFalse(new PropertyTextConverter().matches(TypeDescriptor.valueOf(String.class), TypeDescriptor.valueOf(Long.class)),
                "properties of the application are read as before");
    }

    @Test
    void anImportSetThatIsNotConfiguredIsTheDefaultSet() {
        assertEquals(new PyExecutionPolicy().getAllowedImports(), bind().toPolicy().getAllowedImports());
        assertEquals(new PyExecutionPolicy().getBannedImports(), bind("allowed-imports", "os").toPolicy().getBannedImports());
    }
}
