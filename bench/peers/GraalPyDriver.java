// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import org.graalvm.polyglot.Context;
import org.graalvm.polyglot.Engine;

/** The driver of GraalPy, a Python inside the JVM. See driver.py for the lines that it reads and writes. */
public class GraalPyDriver {
    /** A context and what its code printed. */
    private static final class Interpreter implements AutoCloseable {
        private final ByteArrayOutputStream printed = new ByteArrayOutputStream();
        private final Context context;

        Interpreter(Engine engine) {
            context = Context.newBuilder("python").engine(engine).out(printed).err(new ByteArrayOutputStream()).build();
        }

        String run(String code) {
            printed.reset();
            context.eval("python", code);
            return printed.toString(StandardCharsets.UTF_8);
        }

        @Override
        public void close() {
            context.close(true);
        }
    }

    private final Engine engine = Engine.newBuilder("python").option("engine.WarnInterpreterOnly", "false").build();
    private final Map<String, Interpreter> sessions = new HashMap<>();

    private String answer(String operation, String first, String second) {
        switch (operation) {
            case "run", "solve", "run_packages" -> {
                try (Interpreter interpreter = new Interpreter(engine)) {
                    return interpreter.run(first);
                }
            }
            case "open" -> {
                sessions.put(first, new Interpreter(engine));
                return sessions.get(first).run("");
            }
            case "call" -> {
                return sessions.get(first).run(second);
            }
            case "close" -> {
                sessions.remove(first).close();
                return "";
            }
            default -> throw new IllegalArgumentException(operation);
        }
    }

    private static String decode(String[] words, int index) {
        return index < words.length ? new String(Base64.getDecoder().decode(words[index]), StandardCharsets.UTF_8) : "";
    }

    private static String encode(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Answers requests until standard input ends. */
    public static void main(String[] arguments) throws IOException {
        GraalPyDriver driver = new GraalPyDriver();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.out.println("ok 0 ");
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String[] words = line.split(" ");
            String answer;
            try {
                long began = System.nanoTime();
                String text = driver.answer(words[0], decode(words, 1), decode(words, 2));
                answer = "ok " + (System.nanoTime() - began) / 1e3 + " " + encode(text);
            } catch (RuntimeException error) {
                String message = String.valueOf(error.getMessage());
                answer = "no " + encode(message.substring(0, Math.min(300, message.length())));
            }
            System.out.println(answer);
        }
        System.exit(0);
    }
}
