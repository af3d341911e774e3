package com.alibaba.langengine.pyexecutor.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.jar.Attributes;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The manifest and the other metadata of the jar. */
class JarTest {
    private static final Path REPOSITORY = Path.of("../../..");

    @Test
    void theJarHasItsVersionItsModuleNameAndItsLicence() throws Exception {
        Path jar = Path.of(PyExecutor.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        assumeTrue(Files.isRegularFile(jar), "run `mvn verify`: " + jar + " is no jar");
        Matcher version = Pattern.compile("version: '([^']+)'").matcher(Files.readString(REPOSITORY.resolve("meson.build")));
        assertTrue(version.find());
        try (JarFile file = new JarFile(jar.toFile())) {
            Attributes manifest = file.getManifest().getMainAttributes();
            assertEquals(version.group(1), manifest.getValue("Implementation-Version"));
            assertEquals("ali-langengine-pyexecutor", manifest.getValue("Implementation-Title"));
            assertEquals("com.alibaba.langengine.pyexecutor", manifest.getValue("Automatic-Module-Name"));
            assertArrayEquals(Files.readAllBytes(REPOSITORY.resolve("LICENSE")),
                    file.getInputStream(file.getEntry("META-INF/LICENSE")).readAllBytes());
        }
        assertEquals(version.group(1), PyExecutor.class.getPackage().getImplementationVersion());
    }
}
