// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/** The lines that a native process sends, of any length, as text. One thread reads at a time. */
abstract class AnswerLines implements Closeable {
    static final int CHUNK = 1 << 16;

    private final byte[] chunk = new byte[CHUNK];
    private int from;
    private int to;

    /** Whether an interrupt ends the waiting. */
    abstract boolean isInterruptible();

    /** Waits for bytes. Returns their number, or -1 at the end. */
    abstract int read(byte[] into) throws IOException, InterruptedException;

    /** Waits for a line. Returns null at the end. After an interrupt nothing is lost: the next call goes on. */
    String next() throws IOException, InterruptedException {
        while (true) {
            int end = from;
            while (end < to && chunk[end] != '\n') {
                end++;
            }
            if (end < to) {
                String text = beginning == null ? new String(chunk, from, end - from, StandardCharsets.UTF_8) : rest(end);
                from = end + 1;
                return text;
            }
            keep(end);
            int count = read(chunk);
            if (count < 0) {
                return null;
            }
            to = count;
        }
    }

    /** The part of a line that came in earlier chunks; null: none. */
    private ByteArrayOutputStream beginning;

    private void keep(int end) {
        if (end > from) {
            beginning = beginning == null ? new ByteArrayOutputStream() : beginning;
            beginning.write(chunk, from, end - from);
        }
        from = 0;
        to = 0;
    }

    private String rest(int end) {
        beginning.write(chunk, from, end - from);
        String text = beginning.toString(StandardCharsets.UTF_8);
        beginning = null;
        return text;
    }

    /** Lines of a pipe. A thread that waits for one can't be interrupted. */
    static AnswerLines of(InputStream in) {
        return new AnswerLines() {
            @Override
            boolean isInterruptible() {
                return false;
            }

            @Override
            int read(byte[] into) throws IOException {
                return in.read(into);
            }

            @Override
            public void close() throws IOException {
                in.close();
            }
        };
    }

    /** Lines of a socket. An interrupt ends the waiting, and leaves the socket open. */
    static AnswerLines of(SocketChannel socket) throws IOException {
        socket.configureBlocking(false);
        Selector selector = Selector.open();
        socket.register(selector, SelectionKey.OP_READ);
        ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK);
        return new AnswerLines() {
            @Override
            boolean isInterruptible() {
                return true;
            }

            @Override
            int read(byte[] into) throws IOException, InterruptedException {
                while (true) {
                    selector.select();
                    selector.selectedKeys().clear();
                    if (Thread.interrupted()) {
                        throw new InterruptedException();
                    }
                    int count = socket.read(buffer.clear());
                    if (count != 0) {
                        buffer.flip().get(into, 0, Math.max(count, 0));
                        return count;
                    }
                }
            }

            @Override
            public void close() throws IOException {
                selector.close();
                socket.close();
            }
        };
    }
}
