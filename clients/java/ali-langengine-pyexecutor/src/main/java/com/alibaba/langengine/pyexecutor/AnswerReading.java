// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;

/**
 * Who reads the lines of a native process. A thread that waits for an answer reads until it has it, so that no other thread must be
 * woken first; on its way it hands over the answers of others. Threads that come meanwhile wait until they have their
 * answers, or until it is their turn to read. Answers for which no such thread waits are read by a thread of this object: those of
 * futures, of virtual threads (which must not block in a system call), and of calls whose thread was interrupted.
 */
final class AnswerReading {
    /** {@code Thread.isVirtual()} of Java 21; null before. */
    private static final MethodHandle IS_VIRTUAL = isVirtual();

    /** A call without an answer yet. */
    static final class Turn<A> {
        final CompletableFuture<A> answer = new CompletableFuture<>();
        private boolean served; // nobody waits for it here: the thread of the object reads its answer
        private boolean arrived;
        private volatile boolean called; // the waiting thread should look whether it can read
        private volatile Thread waiter;
    }

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition work = lock.newCondition();
    private final Consumer<String> take;
    private final Set<Turn<?>> followers = new LinkedHashSet<>();
    private AnswerLines lines;
    private Thread reader;  // null: nobody reads
    private int served;     // calls without an answer whose answers this object's thread reads
    private boolean always; // this object's thread reads all answers
    private boolean over;   // nothing more can be read
    private boolean broken; // because of a failure

    /**
     * @param lines where the thread of this object begins to read
     * @param take takes each line, on the thread that read it
     */
    AnswerReading(AnswerLines lines, Consumer<String> take) {
        this.lines = lines;
        this.take = take;
        this.always = true;
    }

    private static MethodHandle isVirtual() {
        try {
            return MethodHandles.publicLookup().findVirtual(Thread.class, "isVirtual", MethodType.methodType(boolean.class));
        } catch (ReflectiveOperationException e) {
            return null;
        }
    }

    private static boolean isVirtual(Thread thread) {
        try {
            return IS_VIRTUAL != null && (boolean) IS_VIRTUAL.invokeExact(thread);
        } catch (Throwable e) {
            return true;
        }
    }

    /**
     * Reads until this answer has come or nothing more can be read. Only this object's thread calls it, before {@link #serve()}, and it
     * stays the reader until then: otherwise a thread that waits could begin to read after {@link #continueWith}, and serve() would
     * let a second one read the same lines.
     */
    void readUntil(Turn<?> turn) {
        lock.lock();
        try {
            reader = Thread.currentThread();
        } finally {
            lock.unlock();
        }
        while (!turn.answer.isDone() && !isOver()) {
            readOne();
        }
    }

    /** Closes the lines. Only this object's thread calls this, after {@link #serve()}. */
    void close() {
        try {
            lines.close();
        } catch (IOException e) {
            // The other end is gone.
        }
    }

    /** Continues with other lines. Only the thread that reads calls this. */
    void continueWith(AnswerLines other) {
        lock.lock();
        try {
            lines = other;
            always = !other.isInterruptible();
        } finally {
            lock.unlock();
        }
    }

    /**
     * The body of this object's thread. Returns when nothing more can be read. Calls without an answer must be failed then.
     *
     * @return whether the lines have ended; false: they can't be read or used
     */
    boolean serve() {
        handOver();
        while (becomeServer()) {
            while (isNeeded()) {
                readOne();
            }
            handOver();
        }
        return !broken;
    }

    private boolean becomeServer() {
        lock.lock();
        try {
            while (!over && (reader != null || !always && served == 0)) {
                work.awaitUninterruptibly();
            }
            reader = Thread.currentThread();
            return !over;
        } finally {
            lock.unlock();
        }
    }

    private boolean isNeeded() {
        lock.lock();
        try {
            return !over && (always || served > 0);
        } finally {
            lock.unlock();
        }
    }

    /** Reads one line and passes it on. Only the thread that reads calls this. Returns false after an interrupt. */
    private boolean readOne() {
        try {
            String line = lines.next();
            if (line == null) {
                end(false);
            } else {
                take.accept(line);
            }
            return true;
        } catch (InterruptedException e) {
            return false;
        } catch (IOException | RuntimeException | OutOfMemoryError e) {
            end(true);
            return true;
        }
    }

    /** From now on nobody reads. The thread of this object returns from {@link #serve}. */
    private void end(boolean failed) {
        lock.lock();
        try {
            over = true;
            broken = failed;
            work.signal();
        } finally {
            lock.unlock();
        }
    }

    /** The thread does not read any more. If answers are still missing, another one reads on. */
    private void handOver() {
        Turn<?> next;
        lock.lock();
        try {
            reader = null;
            next = wakeNext();
        } finally {
            lock.unlock();
        }
        wake(next);
    }

    /** With the lock held. Returns the call whose thread must be unparked, or null. */
    private Turn<?> wakeNext() {
        if (over || always || served > 0) {
            work.signal();
            return null;
        }
        if (followers.isEmpty()) {
            return null;
        }
        Turn<?> next = followers.iterator().next();
        next.called = true;
        return next;
    }

    /** An answer has come. Completes its future. */
    <A> void arrived(Turn<A> turn, A answer) {
        lock.lock();
        try {
            turn.arrived = true;
            followers.remove(turn);
            served -= turn.served ? 1 : 0;
        } finally {
            lock.unlock();
        }
        turn.answer.complete(answer);
        wake(turn);
    }

    /** There will be no answer. */
    void failed(Turn<?> turn, Exception failure) {
        turn.answer.completeExceptionally(failure);
        wake(turn);
    }

    private static void wake(Turn<?> turn) {
        Thread waiter = turn == null ? null : turn.waiter;
        if (waiter != null && waiter != Thread.currentThread()) {
            LockSupport.unpark(waiter);
        }
    }

    /** No thread will wait for this answer in {@link #await}, or none any more. */
    void serve(Turn<?> turn) {
        lock.lock();
        try {
            if (!turn.arrived && !turn.served) {
                turn.served = true;
                served++;
                if (reader == null) {
                    work.signal();
                }
            }
        } finally {
            lock.unlock();
        }
    }

    /** Looks whether the lines have ended, which nobody notices while no call waits for an answer. */
    void lookForEnd() {
        lock.lock();
        try {
            always = true;
            work.signal();
        } finally {
            lock.unlock();
        }
    }

    /** Waits for the answer, and reads it if nobody else reads. */
    <A> A await(Turn<A> turn) throws InterruptedException, ExecutionException {
        Thread thread = Thread.currentThread();
        if (isVirtual(thread)) {
            serve(turn);
            return turn.answer.get();
        }
        turn.waiter = thread;
        while (!turn.answer.isDone()) {
            Role role = take(turn, thread);
            if (role == Role.FOLLOWER) {
                waitForTurn(turn);
            } else {
                readUntilAnswered(turn, role);
            }
        }
        return turn.answer.get();
    }

    /** What a thread does that waits for an answer. */
    private enum Role {
        READER, FOLLOWER,
        /** It is called by the thread that reads: by a tool, because the caller's executor runs it on that thread. */
        INSIDE
    }

    private Role take(Turn<?> turn, Thread thread) {
        lock.lock();
        try {
            turn.called = false;
            followers.remove(turn);
            if (!over && reader == thread) {
                return Role.INSIDE;
            }
            if (!over && reader == null && !always && served == 0) {
                reader = thread;
                return Role.READER;
            }
            if (!turn.arrived) {
                followers.add(turn);
            }
            return Role.FOLLOWER;
        } finally {
            lock.unlock();
        }
    }

    private void readUntilAnswered(Turn<?> turn, Role role) throws InterruptedException {
        boolean interrupted = false;
        while (!interrupted && !turn.answer.isDone() && !isOver()) {
            interrupted = !readOne();
        }
        if (role == Role.READER) {
            handOver();
        }
        if (interrupted) {
            throw new InterruptedException();
        }
    }

    /** Only the thread that reads calls this, and only that thread sets it. */
    private boolean isOver() {
        return over;
    }

    private void waitForTurn(Turn<?> turn) throws InterruptedException {
        while (!turn.answer.isDone() && !turn.called) {
            LockSupport.park(this);
            if (Thread.interrupted()) {
                leave(turn);
                throw new InterruptedException();
            }
        }
    }

    private void leave(Turn<?> turn) {
        Turn<?> next = null;
        lock.lock();
        try {
            followers.remove(turn);
            if (turn.called && reader == null) {
                next = wakeNext();
            }
        } finally {
            lock.unlock();
        }
        wake(next);
    }
}
