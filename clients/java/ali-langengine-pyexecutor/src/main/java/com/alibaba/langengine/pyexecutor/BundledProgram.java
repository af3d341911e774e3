// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The native program in the jar, which is unpacked once into a folder of this user. At each start the folder is checked: it
 * must belong to this user or to root, nobody else may write to it, and each file must have the digest that the jar
 * names. A program that is already unpacked is used without writing a file.
 */
final class BundledProgram {
    static final String CACHE_PROPERTY = "ali.langengine.pyexecutor.cache";
    private static final String PROGRAM = "pyexec";
    private static final System.Logger LOG = System.getLogger("com.alibaba.langengine.pyexecutor");
    private static final int ROOT_USER = 0;
    /** The field of the line Uid in /proc/PID/status, after its name: real, effective, saved, file system. */
    private static final int FILE_SYSTEM_UID = 4;

    private final String resources;
    private final Map<String, String> digests = new LinkedHashMap<>();

    private BundledProgram(String resources) throws IOException {
        this.resources = resources;
        for (String line : new String(read("SHA256SUMS"), StandardCharsets.UTF_8).split("\n")) {
            String[] parts = line.split(" +");
            digests.put(parts[1], parts[0]);
        }
    }

    static Path unpack(Map<String, String> environment) {
        String user = System.getProperty("user.name");
        return unpack(cacheFolder(System.getProperty(CACHE_PROPERTY), environment, user),
                platform(System.getProperty("os.name"), System.getProperty("os.arch")));
    }

    /** The folder of all versions. */
    private static Path cacheFolder(String property, Map<String, String> environment, String user) {
        String cache = environment.get("XDG_CACHE_HOME");
        Path home = Paths.get(System.getProperty("user.home", ""));
        if (property != null && !property.isEmpty()) {
            return Paths.get(property).toAbsolutePath();
        }
        if (cache != null && cache.startsWith("/")) {
            return Paths.get(cache, "pyexec-java");
        }
        if (home.isAbsolute() && Files.isWritable(home)) {
            return home.resolve(".cache").resolve("pyexec-java");
        }
        return Paths.get(System.getProperty("java.io.tmpdir"), "pyexec-java-" + user);
    }

    /** The program is static, and has a guest for each C library, so a system with musl uses the same as one with glibc. */
    static Path unpack(Path cache, String platform) {
        String resources = "native/" + platform + "/";
        if (BundledProgram.class.getResource(resources + "SHA256SUMS") == null) {
            throw new PyExecutorUnsupportedException("this jar has no native program for " + platform);
        }
        try {
            return new BundledProgram(resources).into(cache);
        } catch (IOException e) {
            throw unusable(cache, e);
        }
    }

    static String platform(String os, String architecture) {
        String name = os.toLowerCase(Locale.ROOT);
        String machine = architecture.equals("amd64") ? "x86_64" : architecture.equals("arm64") ? "aarch64" : architecture;
        return (name.startsWith("linux") ? "linux" : name.replace(' ', '-')) + "-" + machine;
    }

    private static PyExecutorException unusable(Path cache, IOException cause) {
        return new PyExecutorException("sandbox_unavailable", "can't unpack the native program into " + cache + ": " + cause,
                "Name a folder that only this user can write to in the system property " + CACHE_PROPERTY + ". On a read-only file"
                + " system it must be a folder into which the same jar was unpacked before.", cause);
    }

    private byte[] read(String name) throws IOException {
        try (InputStream in = BundledProgram.class.getResourceAsStream(resources + name)) {
            if (in == null) {
                throw new IOException("the jar lacks " + resources + name);
            }
            return in.readAllBytes();
        }
    }

    private Path into(Path cache) throws IOException {
        Path folder = cache.resolve(digest(read("SHA256SUMS")).substring(0, 32));
        if (!Files.isDirectory(cache)) {
            Files.createDirectories(cache);
        }
        requireOwn(cache);
        if (!Files.exists(folder, LinkOption.NOFOLLOW_LINKS)) {
            LOG.log(System.Logger.Level.DEBUG, "Unpacking the native program into {0}", folder);
            write(cache, folder);
        }
        requireOwn(folder);
        for (Map.Entry<String, String> entry : digests.entrySet()) {
            requireDigest(folder.resolve(entry.getKey()), entry.getValue());
        }
        return folder.resolve(PROGRAM);
    }

    /** All users may read and run it, because root may unpack it into an image for another user. */
    private void write(Path cache, Path folder) throws IOException {
        Path made = Files.createTempDirectory(cache, ".unpacking-");
        for (String name : digests.keySet()) {
            Path file = made.resolve(name);
            Files.write(file, read(name));
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("r-xr-xr-x"));
        }
        Files.setPosixFilePermissions(made, PosixFilePermissions.fromString("rwxr-xr-x"));
        moveOrLeave(made, folder);
    }

    /** Two processes may unpack at the same time. The files of the first one stay; both have the same files. */
    private static void moveOrLeave(Path made, Path folder) throws IOException {
        try {
            Files.move(made, folder, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            if (!Files.exists(folder) && !(e instanceof FileAlreadyExistsException)) {
                throw e;
            }
            try (Stream<Path> files = Files.list(made)) {
                for (Path file : files.toArray(Path[]::new)) {
                    Files.delete(file);
                }
            }
            Files.delete(made);
        }
    }

    private static void requireOwn(Path folder) throws IOException {
        PosixFileAttributes attributes = Files.readAttributes(folder, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        Set<PosixFilePermission> permissions = attributes.permissions();
        int owner = (Integer) Files.getAttribute(folder, "unix:uid", LinkOption.NOFOLLOW_LINKS);
        boolean own = attributes.isDirectory() && (owner == ROOT_USER || owner == user());
        if (!own || permissions.contains(PosixFilePermission.GROUP_WRITE) || permissions.contains(PosixFilePermission.OTHERS_WRITE)) {
            throw new IOException(folder + " is not a folder that only this user (or root) can write to");
        }
    }

    /** The user id that this process has when it opens files. It is read without writing: the file system may be read-only. */
    private static int user() throws IOException {
        for (String line : Files.readAllLines(Paths.get("/proc/self/status"), StandardCharsets.ISO_8859_1)) {
            if (line.startsWith("Uid:")) {
                return Integer.parseUnsignedInt(line.split("\\s+")[FILE_SYSTEM_UID]);
            }
        }
        throw new IOException("/proc/self/status does not tell this process's user");
    }

    private static String digest(byte[] bytes) throws IOException {
        StringBuilder hex = new StringBuilder();
        try {
            for (byte b : MessageDigest.getInstance("SHA-256").digest(bytes)) {
                hex.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
            }
        } catch (NoSuchAlgorithmException e) {
            throw new IOException(e);
        }
        return hex.toString();
    }

    private static void requireDigest(Path file, String wanted) throws IOException {
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
            throw new IOException(file + " is missing");
        }
        if (!wanted.equals(digest(Files.readAllBytes(file)))) {
            throw new IOException(file + " differs from the file in the jar; remove the folder " + file.getParent());
        }
    }
}
