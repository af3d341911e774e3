// SPDX-License-Identifier: Apache-2.0
package app;

import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import jakarta.servlet.http.HttpServletResponse;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** The original guide's application. */
@SpringBootApplication
@RestController
public class Application {
    private final PyExecutor executor;

    public Application(PyExecutor executor) {
        this.executor = executor;
    }

    public static void main(String[] args) {
        SpringApplication.run(Application.class, args);
    }

    @PostMapping("/run")
    public Map<String, Object> run(@RequestParam(name = "session", required = false) String session, @RequestBody String code)
            throws Exception {
        PyExecutionResult result = session == null ? executor.executeOnce(code, null) : executor.execute(session, code, null);
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("exitCode", result.getExitCode());
        answer.put("lastValue", result.getLastValueRepr());
        answer.put("error", result.getErrorRepr());
        return answer;
    }

    /**
     * The same, with its response sent before this method returns: Tomcat counts a request as ended then, and a shutdown may
     * close the connection before it has sent the response.
     */
    @PostMapping("/run-and-send")
    public void runAndSend(@RequestParam(name = "session") String session, @RequestBody String code, HttpServletResponse response)
            throws Exception {
        byte[] body = String.valueOf(executor.execute(session, code, null).getLastValueRepr()).getBytes(StandardCharsets.UTF_8);
        response.setContentLength(body.length);
        response.getOutputStream().write(body);
        response.flushBuffer();
    }
}
