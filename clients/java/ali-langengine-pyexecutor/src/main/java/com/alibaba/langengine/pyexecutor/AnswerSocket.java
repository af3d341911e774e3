// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.Closeable;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/** A UNIX socket to which the native process connects for its answers, in a folder that only this user can enter. */
final class AnswerSocket implements Closeable {
    final Path path;
    private final Path folder;
    private final ServerSocketChannel server;

    private AnswerSocket(Path folder) throws IOException {
        this.folder = folder;
        path = folder.resolve("answers");
        server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        try {
            server.bind(UnixDomainSocketAddress.of(path), 1);
        } catch (IOException | RuntimeException e) {
            server.close();
            throw e;
        }
    }

    /** Returns null if there can't be one: the system has none, or the path of java.io.tmpdir is too long or can't be written. */
    static AnswerSocket open() {
        Path folder = null;
        try {
            folder = Files.createTempDirectory("pyexec-");
            return new AnswerSocket(folder);
        } catch (IOException | UnsupportedOperationException | SecurityException e) {
            delete(folder);
            return null;
        }
    }

    /** Returns the connection, which the native process has already made. */
    SocketChannel accept() throws IOException {
        server.configureBlocking(false);
        SocketChannel socket = server.accept();
        if (socket == null) {
            throw new IOException("the native program has not connected to " + path);
        }
        return socket;
    }

    @Override
    public void close() {
        try {
            server.close();
        } catch (IOException e) {
            // Nobody uses it any more.
        }
        delete(path);
        delete(folder);
    }

    private static void delete(Path path) {
        try {
            if (path != null) {
                Files.deleteIfExists(path);
            }
        } catch (IOException e) {
            // What remains in the temporary folder is empty.
        }
    }
}
