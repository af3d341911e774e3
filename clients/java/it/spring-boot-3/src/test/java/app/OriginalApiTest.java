package app;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;

/** {@link OriginalApi} compiles with this module. A second file with the same purpose may lie beside the repository. */
class OriginalApiTest {
    @Test
    void aCallerOfTheOriginalCompiles() throws Exception {
        Path source = Path.of(System.getProperty("api.use")).normalize();
        assumeTrue(Files.isRegularFile(source), source + " is not there: only OriginalApi.java was compiled");
        Path classes = Files.createTempDirectory("pyexec-api-use");
        DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(said, null, null)) {
            List<String> options = List.of("-proc:none", "-cp", System.getProperty("java.class.path"), "-d", classes.toString());
            compiler.getTask(null, files, said, options, null, files.getJavaFileObjects(source)).call();
        }
        try (var made = Files.list(classes)) {
            for (Path file : made.collect(Collectors.toList())) {
                Files.delete(file);
            }
        }
        Files.delete(classes);
        assertEquals("", said.getDiagnostics().stream().filter(one -> one.getKind() == javax.tools.Diagnostic.Kind.ERROR)
                .map(Object::toString).collect(Collectors.joining("\n")));
    }
}
