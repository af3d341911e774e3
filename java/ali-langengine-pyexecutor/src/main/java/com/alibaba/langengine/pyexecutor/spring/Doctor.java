package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What doctor says, for the health indicators of both generations of Spring Boot. */
final class Doctor {
    final boolean ok;
    final Map<String, Object> details = new LinkedHashMap<>();

    private Doctor(boolean ok) {
        this.ok = ok;
    }

    static Doctor ask(PyExecutor executor) {
        try {
            return read(executor.doctor());
        } catch (PyExecutorException e) {
            Doctor doctor = new Doctor(false);
            doctor.details.put("code", e.getCode());
            doctor.details.put("error", e.getMessage());
            return doctor;
        }
    }

    private static Doctor read(Map<String, Object> answer) {
        Doctor doctor = new Doctor(Boolean.TRUE.equals(answer.get("ok")));
        for (String key : new String[] {"url", "code", "error", "version"}) {
            doctor.details.computeIfAbsent(key, answer::get);
        }
        if (answer.get("python") instanceof Map<?, ?> python) {
            doctor.details.put("python", python.get("error") == null ? python.get("version") : python.get("error"));
        }
        if (answer.get("layers") instanceof List<?> layers) {
            doctor.details.put("missingLayers", missing(layers));
        }
        return doctor;
    }

    private static Map<String, Object> missing(List<?> layers) {
        Map<String, Object> missing = new LinkedHashMap<>();
        for (Object item : layers) {
            if (item instanceof Map<?, ?> layer && !Boolean.TRUE.equals(layer.get("present"))) {
                missing.put(String.valueOf(layer.get("name")), String.valueOf(layer.get("remedy")));
            }
        }
        return missing;
    }
}
