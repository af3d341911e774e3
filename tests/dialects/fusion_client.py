"""Prints as JSON what the sandbox_fusion package gets from a server, and what verl gets, which calls the same path with requests
(verl/utils/reward_score/sandbox_fusion/utils.py, call_sandbox_api). argv[1] is {"url": …}."""
import asyncio
import base64
import importlib.metadata
import json
import sys
import time

import requests
from sandbox_fusion import (RunCodeRequest, SubmitRequest, SummaryMapping, TestConfig, run_code, run_code_async, run_concurrent,
                            set_endpoint, submit, submit_async, submit_safe, summary_run_code_result)

target = json.loads(sys.argv[1])
set_endpoint(target["url"])


def run(code, **more):
    response = run_code(RunCodeRequest(code=code, language=more.pop("language", "python"), **more), max_attempts=1)
    return {**json.loads(response.json()), "summary": summary_run_code_result(response, SummaryMapping(RunTimeout="late"))}


def raised(call, *arguments, **keywords):
    try:
        return "nothing: %s" % call(*arguments, **keywords)
    except Exception as error:
        return str(error)


def verl(code, stdin=None, memory=1024, timeout=10, language="python"):
    payload = json.dumps({"compile_timeout": timeout, "run_timeout": timeout, "code": code, "stdin": stdin,
                          "memory_limit_MB": memory, "language": language, "files": {}, "fetch_files": []})
    response = requests.post(target["url"] + "/run_code", data=payload, timeout=30,
                             headers={"Content-Type": "application/json", "Accept": "application/json"})
    return [response.status_code, response.json()]


def cancelled():
    start = time.monotonic()
    gave_up = raised(run_code, RunCodeRequest(code="while True: pass", language="python"), max_attempts=1, client_timeout=0.5)
    return gave_up, time.monotonic() - start


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def files():
    answer = run("print(open('in/ö.txt').read())\nopen('out[1].txt', 'w').write('skrivet')",
                 files={"in/ö.txt": encoded("hej"), "left": None}, fetch_files=["out[1].txt", "in/ö.txt", "absent"])
    return {**answer, "files": {name: base64.b64decode(data).decode() for name, data in answer["files"].items()}}


def submission(completion, *tests, dataset="mine", number=1, provided=None, **config):
    row = {"test": [{"input": {"stdin": given}, "output": {"stdout": expected}} for given, expected in tests], **(provided or {})}
    return SubmitRequest(dataset=dataset, id=number, completion=completion, config=TestConfig(**{"language": "python", "provided_data": row, **config}))


def judged(*arguments, **more):
    return json.loads(submit(submission(*arguments, **more), max_attempts=1).json())


DOUBLE = "Read it, then double it:\n```python\nn = int(input())\nprint(n * 2)\n```\nIt is O(1)."
LATE = "```python\nn = int(input())\nwhile n == 2: pass\nif n == 3: exit(4)\nprint(n, end='')\nimport traceback\ntraceback.print_exc()\n```"


def submissions():
    doubles = [(str(n), str(2 * n)) for n in range(5)]
    return {
        "right": judged(DOUBLE, *doubles, dataset_type="CommonOJDataset"),
        "wrong": judged(DOUBLE, ("1", "2"), ("2", "5"), ("3", "6"), number="two"),
        "all": judged(LATE, *[(str(n), str(n)) for n in range(1, 6)], extra={"run_all_cases": True}),
        "lines": judged("```python\nprint(input())\nprint(0.3)\n```", (" Yes ", "YES\n0.300001\n"), ("no", "no\n0.31")),
        "long": judged("```python\nprint(input())\n```", ("å" * 3000, "å" * 3000), ("å" * 3000, "b")),
        "full": judged("```python\nprint(input())\n```", ("å" * 3000, "å" * 3000), extra={"return_full_case": True}),
        "text": judged(DOUBLE, ("1", "2"), provided={"test": json.dumps([{"input": {"stdin": "1"}, "output": {"stdout": "2"}}])}),
        "no_code": judged("I can't.", ("1", "2")),
        "big": judged("```python\nprint('å' * 3000000)\n```", ("", "x")),
        "async": json.loads(asyncio.run(submit_async(submission(DOUBLE, *doubles))).json())["accepted"],
        "refused": {name: raised(judged, DOUBLE, *tests, **more) for name, tests, more in (
            ("no_rows", [("1", "2")], {"provided_data": None}), ("rows", [("1", "2")], {"provided_data": [{}]}), ("no_tests", [], {}),
            ("other_class", [("1", "2")], {"dataset_type": "HumanEvalDataset"}), ("logic", [("1", "2")], {"custom_extract_logic": "1"}),
            ("cpp", [("1", "2")], {"language": "cpp"}), ("no_language", [("1", "2")], {"language": None}),
            ("files", [], {"provided": {"test": [{"input": {"stdin": "", "a.txt": "x"}, "output": {"stdout": ""}}]}}),
            ("odd", [], {"provided": {"test": [{"input": {}, "output": {"stdout": ""}}]}}))},
        "safe": json.loads(submit_safe(submission(DOUBLE), max_attempts=1).json())["accepted"],
    }


def scenario():
    return {
        "ok": run("print('hej 🐍')\n1 + 1"),
        "failed": run("1/0"),
        "exit": run("raise SystemExit(3)"),
        "stdin": run("print(input()[::-1])", stdin="abc\n"),
        "late": run("import time\nprint('before', flush=True)\ntime.sleep(9)", run_timeout=0.5),
        "ceiling": run("import time\ntime.sleep(9)", run_timeout=60),
        "cpu": run("while True: pass"),
        "refused": run("import subprocess"),
        "files": files(),
        "bad_file": raised(run, "1", files={"x": "***"}),
        "outside": raised(run, "1", files={"../x": ""}),
        "big": [len(run("print('å' * 3000000)")["run_result"]["stdout"]), run("print('å' * 3000000)")["run_result"]["stderr"]],
        "cpp": raised(run, "int main() {}", language="cpp"),
        "memory": verl("len(bytearray(200 << 20))", memory=128),
        "memory_more": verl("len(bytearray(200 << 20))", memory=4096),
        "memory_tiny": verl("1", memory=16),
        "unknown": verl("1", language="cobol"),
        "missing": requests.post(target["url"] + "/run_code", json={"language": "python"}).json(),
        "wrong": [requests.post(target["url"] + "/run_code", json={"language": "python", "code": "1", **bad}).status_code
                  for bad in ({"code": 1}, {"run_timeout": "soon"}, {"stdin": 1}, {"files": []}, {"files": {"a": 1}}, {"fetch_files": [1]})],
        "no_json": requests.post(target["url"] + "/run_code", data="{").json(),
        "ping": requests.get(target["url"] + "/v1/ping").json(),
        "async": json.loads(asyncio.run(run_code_async(RunCodeRequest(code="print(2)", language="python"))).json()),
        "concurrent": run_concurrent(lambda n: run("print(%d)" % n)["run_result"]["stdout"], args=[[n] for n in range(8)], concurrency=4),
        "cancelled": cancelled(),
    }


if "codes" in target:
    report = {"ran": [run(code)["run_result"] for code in target["codes"]],
              "submitted": judged("```python\n%s\n```" % target["codes"][0], ("", target["stdout"]))["accepted"]}
else:
    report = {"once": raised(run, "print(1)")} if target.get("once") else submissions() if target.get("only") == "submit" else scenario()
print(json.dumps({"client": "sandbox-fusion " + importlib.metadata.version("sandbox-fusion"), **report}))
