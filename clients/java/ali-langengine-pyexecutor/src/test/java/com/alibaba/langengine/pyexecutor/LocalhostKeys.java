package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** A new key and its certificate for "localhost", which nobody trusts but context(). */
final class LocalhostKeys implements AutoCloseable {
    private static final char[] PASSWORD = "changeit".toCharArray();

    final Path folder = Files.createTempDirectory("pyexec-tls");
    private final KeyStore store;

    LocalhostKeys() throws Exception {
        Path keys = folder.resolve("keys");
        Process keytool = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "keytool").toString(), "-genkeypair", "-alias",
                "a", "-keyalg", "EC", "-dname", "CN=localhost", "-ext", "san=dns:localhost", "-keystore", keys.toString(), "-storepass",
                new String(PASSWORD)).redirectErrorStream(true).start();
        String said = new String(keytool.getInputStream().readAllBytes());
        assertEquals(0, keytool.waitFor(), said);
        store = KeyStore.getInstance(keys.toFile(), PASSWORD);
    }

    /** For a server with the key, and for a client that trusts the certificate. */
    SSLContext context() throws Exception {
        KeyManagerFactory own = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        own.init(store, PASSWORD);
        TrustManagerFactory trusted = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trusted.init(store);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(own.getKeyManagers(), trusted.getTrustManagers(), null);
        return tls;
    }

    /** Writes the files `key` and `cert`, for a program. */
    void writePem() throws Exception {
        pem("key", "PRIVATE KEY", store.getKey("a", PASSWORD).getEncoded());
        pem("cert", "CERTIFICATE", store.getCertificate("a").getEncoded());
    }

    private void pem(String name, String what, byte[] content) throws IOException {
        Files.writeString(folder.resolve(name), "-----BEGIN " + what + "-----\n" + Base64.getMimeEncoder().encodeToString(content)
                + "\n-----END " + what + "-----\n");
    }

    @Override
    public void close() throws IOException {
        for (String name : new String[] {"keys", "key", "cert", ""}) {
            Files.deleteIfExists(folder.resolve(name));
        }
    }
}
