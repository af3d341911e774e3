package app;

import com.alibaba.langengine.pyexecutor.DaemonSession;
import com.alibaba.langengine.pyexecutor.PreludeBuilderDaemon;
import com.alibaba.langengine.pyexecutor.PreludeBuilderOnce;
import com.alibaba.langengine.pyexecutor.PyExecutionOptions;
import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import com.alibaba.langengine.pyexecutor.SessionManager;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorAutoConfiguration;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorProperties;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Set;

/**
 * A caller of the original library: it uses each of its public members, with the original's own types. That this file
 * compiles is the test. Each value is read into a variable of its exact type, and given back to its setter.
 */
final class OriginalApi {
    private OriginalApi() {
    }

    static void executor(String code) throws Exception {
        PyExecutor single = new PyExecutor(new PyExecutionPolicy());
        PyExecutor sessions = new PyExecutor((PyExecutionPolicy) null, (SessionConfig) null);
        PyExecutionResult result = single.executeOnce(code, (PyExecutionOptions) null);
        result = sessions.execute("id", code, null);
        sessions.closeSession("id");
        sessions.closeAll();
    }

    static void policy(PyExecutionPolicy policy) {
        String pythonBin = policy.getPythonBin();
        policy.setPythonBin(pythonBin);
        Duration timeout = policy.getTimeout();
        policy.setTimeout(timeout);
        long bytes = policy.getMaxStdoutBytes();
        policy.setMaxStdoutBytes(bytes);
        bytes = policy.getMaxStderrBytes();
        policy.setMaxStderrBytes(bytes);
        Set<String> imports = policy.getAllowedImports();
        imports.addAll(policy.getBannedImports());
        Integer seconds = policy.getCpuTimeSeconds();
        policy.setCpuTimeSeconds(seconds);
        policy.setCpuTimeSeconds(null);
        Long space = policy.getAddressSpaceBytes();
        policy.setAddressSpaceBytes(space);
        policy.setAddressSpaceBytes(null);
        Integer files = policy.getMaxOpenFiles();
        policy.setMaxOpenFiles(files);
        policy.setMaxOpenFiles(null);
        boolean flag = policy.isUseImportWhitelist();
        policy.setUseImportWhitelist(flag);
        policy.setBlockDunderImports(policy.isBlockDunderImports());
        policy.setDisableOpen(policy.isDisableOpen());
        policy.setAllowReadonlyOpen(policy.isAllowReadonlyOpen());
        policy.setDisableNetworking(policy.isDisableNetworking());
        policy.setPrintLastExpression(policy.isPrintLastExpression());
        policy.setIsolateSite(policy.isIsolateSite());
    }

    static PyExecutionOptions options() {
        PyExecutionOptions options = new PyExecutionOptions();
        String folder = options.getWorkingDirRelative();
        Boolean print = options.getPrintLastExpression();
        Map<String, String> env = options.getExtraEnv();
        env.put("A", "b");
        return options.setWorkingDirRelative(folder).setPrintLastExpression(print).putEnv("name", "value");
    }

    static String result() {
        PyExecutionResult result = new PyExecutionResult(0, "", false, "", false, 0L, null, null);
        int exitCode = result.getExitCode();
        boolean truncated = result.isStdoutTruncated() || result.isStderrTruncated();
        long elapsed = result.getElapsedMs();
        String texts = result.getStdout() + result.getStderr() + result.getLastValueRepr() + result.getErrorRepr();
        return exitCode + texts + truncated + elapsed;
    }

    static SessionConfig sessionConfig() {
        SessionConfig config = new SessionConfig();
        boolean enabled = config.isEnabled();
        int count = config.getMaxCount();
        Duration idle = config.getIdleTtl();
        Duration hard = config.getHardTtl();
        String root = config.getWorkspaceRoot();
        return config.setEnabled(enabled).setMaxCount(count).setIdleTtl(idle).setHardTtl(hard).setWorkspaceRoot(root);
    }

    static void sessions(PyExecutionPolicy policy, SessionConfig config, Path folder) throws Exception {
        SessionManager manager = new SessionManager(policy, config);
        DaemonSession kept = manager.getOrCreate("id");
        SessionConfig sameConfig = manager.getConfig();
        PyExecutionPolicy samePolicy = manager.getPolicy();
        manager.close("id");
        manager.closeAll();
        DaemonSession session = new DaemonSession();
        session.start(samePolicy, folder);
        PyExecutionResult result = session.exec("1", null, samePolicy);
        Process process = session.getProcess();
        long used = session.getLastUsedEpochMs();
        session.setLastUsedEpochMs(used);
        long created = session.getCreationEpochMs();
        boolean alive = session.isAlive() && kept.isAlive();
        session.shutdown();
        String preludes = PreludeBuilderDaemon.render(policy) + PreludeBuilderOnce.render(policy);
    }

    static PyExecutor properties(PyExecutorProperties properties) {
        PyExecutionPolicy policy = properties.toPolicy();
        SessionConfig config = properties.toSessionConfig();
        String pythonBin = properties.getPythonBin();
        properties.setPythonBin(pythonBin);
        Duration duration = properties.getTimeout();
        properties.setTimeout(duration);
        long bytes = properties.getMaxStdoutBytes();
        properties.setMaxStdoutBytes(bytes);
        bytes = properties.getMaxStderrBytes();
        properties.setMaxStderrBytes(bytes);
        Set<String> imports = properties.getAllowedImports();
        properties.setAllowedImports(imports);
        imports = properties.getBannedImports();
        properties.setBannedImports(imports);
        Integer number = properties.getCpuTimeSeconds();
        properties.setCpuTimeSeconds(number);
        number = properties.getMaxOpenFiles();
        properties.setMaxOpenFiles(number);
        Long space = properties.getAddressSpaceBytes();
        properties.setAddressSpaceBytes(space);
        properties.setUseImportWhitelist(properties.isUseImportWhitelist());
        properties.setBlockDunderImports(properties.isBlockDunderImports());
        properties.setDisableOpen(properties.isDisableOpen());
        properties.setAllowReadonlyOpen(properties.isAllowReadonlyOpen());
        properties.setDisableNetworking(properties.isDisableNetworking());
        properties.setPrintLastExpression(properties.isPrintLastExpression());
        properties.setIsolateSite(properties.isIsolateSite());
        properties.setSessionEnabled(properties.isSessionEnabled());
        int count = properties.getSessionMaxCount();
        properties.setSessionMaxCount(count);
        duration = properties.getSessionIdleTtl();
        properties.setSessionIdleTtl(duration);
        duration = properties.getSessionHardTtl();
        properties.setSessionHardTtl(duration);
        String root = properties.getWorkspaceRoot();
        properties.setWorkspaceRoot(root);
        return new PyExecutorAutoConfiguration().pyExecutor(properties);
    }
}
