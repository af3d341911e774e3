package com.alibaba.langengine.pyexecutor;

import java.io.File;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** A NATS server with JetStream and the workers at it. Tests of other packages use it too. */
public final class Fleet implements AutoCloseable {
    private static final Map<String, String> PLAIN = Map.of("PYEXEC_ENV_ROOT", "/nonexistent");

    private final Path folder = Files.createTempDirectory("pyexec-nats");
    private final String settings;
    private final Map<String, Serve> workers = new LinkedHashMap<>();
    private Process server;
    private int port = -1;

    /** Starts the NATS server, without workers. */
    public Fleet() throws Exception {
        this("");
    }

    /** `settings`: text of the configuration of the NATS server. */
    Fleet(String settings) throws Exception {
        this.settings = settings;
        start();
    }

    private static String program() {
        for (String path : (System.getenv("PATH") + ":/usr/sbin:/usr/local/bin").split(":")) {
            File program = new File(path, "nats-server");
            if (program.canExecute()) {
                return program.getPath();
            }
        }
        Assumptions.abort("nats-server is not installed");
        return null;
    }

    /** Starts the NATS server again. */
    void start() throws Exception {
        Files.writeString(folder.resolve("server.conf"), "server_name: solo\nlisten: 127.0.0.1:" + port + "\nports_file_dir: " + folder
                + "\njetstream { store_dir: " + folder + "/js }\n" + settings + "\n");
        for (Path old : ports()) {
            Files.delete(old);
        }
        server = new ProcessBuilder(program(), "-c", folder.resolve("server.conf").toString())
                .redirectErrorStream(true).redirectOutput(folder.resolve("log").toFile()).start();
        LifeTest.until(() -> !server.isAlive() || !ports().isEmpty() && port(ports().get(0)) > 0);
        if (!server.isAlive()) {
            throw new AssertionError(Files.readString(folder.resolve("log")));
        }
        port = port(ports().get(0));
    }

    private List<Path> ports() throws IOException {
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, "*.ports")) {
            files.forEach(found::add);
        }
        return found;
    }

    private static int port(Path file) throws IOException {
        Matcher nats = Pattern.compile("\"nats\": *\\[[^\\]]*:([0-9]+)").matcher(Files.readString(file));
        return nats.find() ? Integer.parseInt(nats.group(1)) : -1;
    }

    void kill() {
        server.destroyForcibly().onExit().join();
    }

    public String url() {
        return url("");
    }

    /** `user`: USER:PASSWORD@ */
    String url(String user) {
        return "nats://" + user + "127.0.0.1:" + port;
    }

    HostConfig host() {
        return new HostConfig().setUrl(url());
    }

    /** Starts a worker. */
    public Serve worker(String node, String... flags) throws Exception {
        return worker(node, "", "", PLAIN, flags);
    }

    /** `user`: of the NATS server. `principals`: lines of the token file. */
    Serve worker(String node, String user, String principals, Map<String, String> environment, String... flags) throws Exception {
        Serve worker = new Serve(List.of("worker", "--nats", url(user), "--node", node, "--listen", "127.0.0.1:0"), "node " + node + " serves",
                "\n" + principals, environment, flags);
        workers.put(node, worker);
        return worker;
    }

    /** A worker with a wide ceiling. */
    Serve wide(String node) throws Exception {
        return worker(node, Serve.WIDE);
    }

    /** The sum of a metric of the workers. */
    public int metric(String name) throws Exception {
        int sum = 0;
        for (Serve worker : workers.values()) {
            sum += worker.metric(name);
        }
        return sum;
    }

    void kill(String node) throws IOException {
        Serve worker = workers.remove(node);
        worker.end(true);
        worker.close();
    }

    @Override
    public void close() throws IOException {
        for (Serve worker : workers.values()) {
            worker.close();
        }
        kill();
        try (Stream<Path> paths = Files.walk(folder)) {
            for (Path path : (Iterable<Path>) paths.sorted(Comparator.reverseOrder())::iterator) {
                Files.delete(path);
            }
        }
    }

    /** Fleets of one worker with a wide ceiling. */
    static final class Remote extends HostPerConfig<Fleet> {
        @Override
        Fleet start(Map<String, String> environment) throws Exception {
            Fleet fleet = new Fleet();
            Map<String, String> all = new LinkedHashMap<>(PLAIN);
            all.putAll(environment);
            fleet.worker("solo", "", "", all, Serve.WIDE);
            return fleet;
        }

        @Override
        HostConfig config(Fleet fleet) {
            return fleet.host();
        }

        @Override
        int metric(Fleet fleet, String name) throws Exception {
            return fleet.metric(name);
        }
    }
}
