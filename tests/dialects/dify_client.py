"""Sends the same requests as Dify. Dify can't be installed as a package, so this file does the same as these files of
langgenius/dify, with the same HTTP client: api/core/helper/code_executor/code_executor.py (URL, headers, body, how the answer is
used), template_transformer.py and python3/python3_transformer.py (how the script of a code node is built, and how its result is
found). argv[1] is {"url": …, "key": …}; prints JSON."""
import base64
import importlib.metadata
import json
import re
import sys
import time

import httpx

target = json.loads(sys.argv[1])
HEADERS = {"X-Api-Key": target.get("key", "dify-sandbox")}
TAG = "<<RESULT>>"


class Refused(Exception):
    pass


def execute(code, language="python3", preload="", **more):
    """Does what CodeExecutor.execute_code does."""
    body = {"language": language, "code": code, "preload": preload, "enable_network": True, **more}
    response = httpx.post(target["url"] + "/v1/sandbox/run", json=body, headers=HEADERS, timeout=(10, 60, None, None))
    if response.status_code == 503:
        raise Refused("Code execution service is unavailable")
    if response.status_code != 200:
        raise Refused("got status code %d" % response.status_code)
    answer = response.json()
    if answer["code"] != 0:
        raise Refused(answer["message"])
    if answer["data"]["error"]:
        raise Refused(answer["data"]["error"])
    return answer["data"]["stdout"]


def node(code, **inputs):
    """A code node: `main` gets the inputs, and its dict comes back between the tags."""
    given = base64.b64encode(json.dumps(inputs, ensure_ascii=False).encode()).decode()
    script = "\n".join([code, "import json", "from base64 import b64decode",
                        "inputs_obj = json.loads(b64decode('%s').decode('utf-8'))" % given,
                        "output_obj = main(**inputs_obj)", "output_json = json.dumps(output_obj, indent=4)",
                        "result = f'''%s{output_json}%s'''" % (TAG, TAG), "print(result)"])
    return json.loads(re.search(TAG + "(.*)" + TAG, execute(script), re.DOTALL).group(1))


def dependencies(path="", language="python3"):
    """Does what CodeExecutor._get_dependencies does."""
    response = httpx.get(target["url"] + "/v1/sandbox/dependencies" + path, params={"language": language}, headers=HEADERS)
    return [response.status_code, response.json()]


def raised(call, *arguments, **keywords):
    try:
        return "nothing: %s" % call(*arguments, **keywords)
    except Refused as error:
        return str(error)


def post(**body):
    response = httpx.post(target["url"] + "/v1/sandbox/run", json=body, headers=HEADERS)
    return [response.status_code, response.json()]


def cancelled():
    start = time.monotonic()
    try:
        httpx.post(target["url"] + "/v1/sandbox/run", json={"language": "python3", "code": "while True: pass"}, headers=HEADERS, timeout=0.5)
    except httpx.ReadTimeout:
        return time.monotonic() - start


def scenario():
    return {
        "node": node("def main(a: str, b: int) -> dict:\n    return {'result': a * b, 'n': [1, None, 'ö 🐍']}", a="å", b=3),
        "failed": raised(node, "def main():\n    return 1 / 0"),
        "raw": post(language="python3", code="print('hej')\n1/0"),
        "warned": post(language="python3", code="from traceback import print_stack\nprint_stack()\nprint('fine')"),
        "preload": execute("print(before)", preload="before = 'loaded'"),
        "state": raised(execute, "print(before)"),
        "timeout": raised(execute, "import time\ntime.sleep(9)"),
        "refused": raised(execute, "import subprocess"),
        "network": raised(execute, "import socket\nsocket.create_connection(('127.0.0.1', 1))"),
        "nodejs": post(language="nodejs", code="1"), "missing": post(language="python3"), "no_language": post(code="1"),
        "not_code": post(language="python3", code=1), "nul": post(language="python3", code="\0"),
        "no_json": httpx.post(target["url"] + "/v1/sandbox/run", content="{", headers=HEADERS).json(),
        "big": [len(execute("print('å' * 3000000)")), post(language="python3", code="print('å' * 3000000)")[1]["data"]["stderr"]],
        "dependencies": dependencies(), "refreshed": dependencies("/refresh"), "of_nodejs": dependencies(language="nodejs"),
        "updated": httpx.post(target["url"] + "/v1/sandbox/dependencies/update", json={"language": "python3"}, headers=HEADERS).json(),
        "health": httpx.get(target["url"] + "/health").json(),
        "cancelled": cancelled(),
    }


if "code" in target:
    report = {"ran": raised(execute, target["code"]), "dependencies": dependencies()}
else:
    report = {"once": raised(execute, "print(1)")} if target.get("once") else scenario()
print(json.dumps({"client": "httpx " + importlib.metadata.version("httpx"), **report}))
