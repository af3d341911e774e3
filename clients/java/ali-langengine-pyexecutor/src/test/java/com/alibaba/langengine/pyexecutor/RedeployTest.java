package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.ref.WeakReference;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** After an application is deployed again, the class loader of the previous deployment is collected. */
class RedeployTest {
    /** Loads the client in a separate class loader, runs a script, closes the client, and keeps no reference to it. */
    private static WeakReference<ClassLoader> deployed(boolean async) throws Exception {
        URL[] classes = {PyExecutor.class.getProtectionDomain().getCodeSource().getLocation()};
        URLClassLoader loader = new URLClassLoader(classes, ClassLoader.getPlatformClassLoader());
        Class<?> type = loader.loadClass(PyExecutor.class.getName());
        assertNotSame(PyExecutor.class, type);
        Thread.currentThread().setContextClassLoader(loader);
        try (AutoCloseable executor = (AutoCloseable) type.getConstructor(loader.loadClass(PyExecutionPolicy.class.getName())).newInstance((Object) null)) {
            Class<?> options = loader.loadClass(PyExecutionOptions.class.getName());
            Object result = async
                    ? ((CompletableFuture<?>) type.getMethod("executeOnceAsync", String.class, options).invoke(executor, "1 + 1", null))
                            .get(60, TimeUnit.SECONDS)
                    : type.getMethod("executeOnce", String.class, options).invoke(executor, "1 + 1", null);
            assertEquals("2", result.getClass().getMethod("getLastValueRepr").invoke(result));
        }
        loader.close();
        return new WeakReference<>(loader);
    }

    private static void assertCollected(boolean async) throws Exception {
        ClassLoader before = Thread.currentThread().getContextClassLoader();
        WeakReference<ClassLoader> loader;
        try {
            loader = deployed(async);
        } finally {
            Thread.currentThread().setContextClassLoader(before);
        }
        until(() -> {
            System.gc();
            return loader.get() == null;
        });
    }

    @Test
    void noThreadHoldsTheClassLoader() throws Exception {
        assertCollected(false);
        assertCollected(true);
    }

    @Test
    void norWithAServer() throws Exception {
        assumeTrue(Files.isExecutable(Path.of(System.getProperty("pyexec.server", ""))), "there is no server");
        try (Serve serve = new Serve(Map.of())) {
            System.setProperty(RemoteServer.URL_PROPERTY, serve.url);
            System.setProperty(RemoteServer.TOKEN_PROPERTY, Serve.TOKEN);
            assertCollected(true);
        } finally {
            System.clearProperty(RemoteServer.URL_PROPERTY);
            System.clearProperty(RemoteServer.TOKEN_PROPERTY);
        }
    }
}
