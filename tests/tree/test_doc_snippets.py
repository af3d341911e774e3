"""Every snippet of the documentation that is marked `<!-- test: NAME -->` works as it stands. What it prints is compared with
the block marked `<!-- output: NAME -->`, where there is one.

A block of ```python runs with the environment of tools/python-venv.sh, one of ```sh in a shell where `pyexec`, `python` and
`jupyter` are found, and one of ```ts is compiled and runs with the packages of tools/typescript-build.sh. All run in an empty folder;
what a snippet needs besides is in SETUPS, by its name."""
import contextlib
import glob
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT, sanitizer_options
from dialect_clients import dialect_client  # noqa: F401
from serving import serving

PAGES = [path for pattern in ("*.md", "docs/**/*.md", "clients/**/*.md", "examples/**/*.md")
         for path in sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True))]
BLOCK = re.compile(r"^<!-- (test|output): ([\w-]+) -->\n+```(\w*)\n(.*?)^```$", re.M | re.S)


def _blocks():
    found = {}
    for path in PAGES:
        with open(path) as file:
            text = file.read()
        blocks = BLOCK.findall(text)
        assert len(blocks) == len(re.findall(r"^<!-- (?:test|output): ", text, re.M)), "a mark without a block: " + path
        for kind, name, language, code in blocks:
            assert (kind, name) not in found, "%s: another is called %s" % (path, name)
            found[kind, name] = (os.path.relpath(path, ROOT), language, code)
    return found


BLOCKS = _blocks()
NAMES = sorted(name for kind, name in BLOCKS if kind == "test")

MODELS = {
    "smolagents": r'''
from smolagents.models import ChatMessage, Model

class Scripted(Model):
    answers = ["import os", "reduced = discount(30.0, 50)", "final_answer(reduced)"]

    def generate(self, messages, **unused):
        return ChatMessage(role="assistant", content="<code>\n%s\n</code>" % self.answers.pop(0))

model = Scripted(model_id="scripted")
''',
    "langchain": r'''
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools, **unused):
        return self

codes = ["import numpy\nnumpy.mean([1, 2, 6])", "import statistics\nstatistics.mean([1, 2, 6])"]
calls = [AIMessage("", tool_calls=[{"name": "python", "args": {"code": code}, "id": code, "type": "tool_call"}]) for code in codes]
model = Scripted(messages=iter([*calls, AIMessage("The mean is 3.")]))
''',
    "langchain-tools": r'''
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools, **unused):
        return self

code = "2 * price('tea') + sum(price('rice') for i in range(3))"
call = AIMessage("", tool_calls=[{"name": "python", "args": {"code": code}, "id": "1", "type": "tool_call"}])
model = Scripted(messages=iter([call, AIMessage("13 euros.")]))
''',
    "inspect_ai": r'''
from inspect_ai.model import ModelAPI, ModelOutput, get_model, modelapi

@modelapi(name="scripted")
class Scripted(ModelAPI):
    code = "import statistics\nprint(statistics.mean(map(int, open('data.txt').read().split())))"
    outputs = [ModelOutput.for_tool_call("scripted/model", "python", {"code": code}), ModelOutput.from_content("scripted/model", "3")]

    def __init__(self, model_name, base_url=None, api_key=None, config=None):
        super().__init__(model_name, base_url, api_key, [], config)

    async def generate(self, input, tools, tool_choice, config):
        return self.outputs.pop(0)

    async def count_tokens(self, input, config=None):
        return 1

model = get_model("scripted/model")
''',
    "pydantic-ai": r'''
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

def answer(messages, info):
    returned = [part.content for part in messages[-1].parts if part.part_kind == "tool-return"]
    code = "2 * price('tea') + sum(price('rice') for i in range(3))"
    return ModelResponse([TextPart(returned[0] + " euros.") if returned else ToolCallPart("python", {"code": code})])

model = FunctionModel(answer)
''',
    "openai-agents": r'''
import json
from agents import Model, ModelResponse, Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

class Scripted(Model):
    async def get_response(self, system_instructions, input, *rest, **more):
        code = json.dumps({"code": "2 * price('tea') + sum(price('rice') for i in range(3))"})
        item = ResponseFunctionToolCall(type="function_call", call_id="1", name="python", arguments=code)
        if not isinstance(input, str) and input[-1].get("type") == "function_call_output":
            text = ResponseOutputText(type="output_text", text=input[-1]["output"] + " euros.", annotations=[])
            item = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *unused, **more):
        raise NotImplementedError

model = Scripted()
''',
    "anthropic": r'''
import json
import anthropic
import httpx2

def answer(request):
    messages = json.loads(request.content)["messages"]
    code = ("import json\nteas = json.loads(await price({'item': 'tea'}))['price'] * 2\n"
            "print(teas + json.loads(await price(item='rice'))['price'] * 3)")
    block, stop = {"type": "tool_use", "id": "toolu_1", "name": "code_execution", "input": {"code": code}}, "tool_use"
    if len(messages) > 1:
        total = float(json.loads(messages[-1]["content"][0]["content"])["stdout"])
        block, stop = {"type": "text", "text": "%d euros." % total}, "end_turn"
    return httpx2.Response(200, json={"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": [block],
                                      "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}})

client = anthropic.Anthropic(api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))
''',
}
# A step of each of these models is made of the text of the tool's last result. So the hint is what makes the second step right.
MODELS["typescript-ai"] = r'''
import { MockLanguageModelV3 } from "ai/test";

const steps = [
  () => ({ code: "import numpy\nnumpy.mean([price('tea'), price('rice')])" }),
  (seen: string) => {
    const name = /import 'numpy' not allowed. Use (\w+)/.exec(seen)![1];
    return { code: `import ${name}\n${name}.mean([price('tea'), price('rice')])` };
  },
  (seen: string) => ({ text: `The mean is ${seen}.` }),
];
const usage = { inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 }, outputTokens: { total: 1, text: 1, reasoning: 0 } };
export const model = new MockLanguageModelV3({ doGenerate: async ({ prompt }) => {
  const [part] = prompt.at(-1)!.content as unknown as Array<{ output?: { value: string } }>;
  const step = steps.shift()!(part?.output?.value ?? "");
  return "code" in step
    ? { content: [{ type: "tool-call", toolCallId: "1", toolName: "python", input: JSON.stringify(step) }], finishReason: { unified: "tool-calls", raw: undefined }, usage, warnings: [] }
    : { content: [{ type: "text", text: step.text }], finishReason: { unified: "stop", raw: undefined }, usage, warnings: [] };
} });
'''
MODELS["typescript-langchain"] = r'''
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import { fakeModel } from "@langchain/core/testing";

const call = (name: string) => new AIMessage({ content: "", tool_calls: [
  { name: "python", args: { code: `import ${name}\n${name}.mean([float(price('tea')), float(price('rice'))])` }, id: name, type: "tool_call" }] });
export const model = fakeModel()
  .respond(call("numpy"))
  .respond((messages: BaseMessage[]) => call(/import 'numpy' not allowed. Use (\w+)/.exec(messages.at(-1)!.text)![1]!))
  .respond((messages: BaseMessage[]) => new AIMessage(`The mean is ${messages.at(-1)!.text}.`));
'''
MODELS["inspect_ai-tools"] = MODELS["inspect_ai"].replace(
    "import statistics\\nprint(statistics.mean(map(int, open('data.txt').read().split())))",
    "2 * float(price('tea')) + sum(float(price('rice')) for i in range(3))").replace('"3")', '"13.0 euros")')


@contextlib.contextmanager
def with_model(folder, code, own, name):
    """Writes my_model.py or my-model.ts, with a model that gives prepared answers."""
    (folder / ("my-model.ts" if name.startswith("typescript") else "my_model.py")).write_text(MODELS[name])
    yield code


@contextlib.contextmanager
def with_mcp_server(folder, code, own, name):
    """Writes my-server.ts, an MCP server with a tool."""
    (folder / "my-server.ts").write_text('''
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "shop", version: "1" });
server.registerTool("price", { description: "The price.", inputSchema: { item: z.string() }, outputSchema: { euros: z.number() } },
  async ({ item }) => ({ content: [], structuredContent: { euros: item === "tea" ? 3.5 : 2 } }));
await server.connect(new StdioServerTransport());
''')
    yield code


@contextlib.contextmanager
def with_server(folder, code, own, name):
    """Starts `pyexec serve` on another socket than that of the snippet."""
    with serving(own, "--files", "full", env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server:
        assert "unix:/run/user/1000/pyexec.sock" in code
        yield code.replace("unix:/run/user/1000/pyexec.sock", "unix:" + server.socket)


@contextlib.contextmanager
def with_dialect(folder, code, own, name):
    """`pyexec serve` with a dialect, at another port than the snippet's, which another program may have."""
    flag, port = {"e2b": ("--e2b", 49999), "dify": ("--dify-sandbox", 8194), "sandboxfusion": ("--sandbox-fusion", 8080)}[name.partition("-")[0]]
    with serving(own, flag, "--files", "full", tcp=True) as server:
        if name == "e2b":
            told = 'os.environ["E2B_DEBUG"] = "true"'
            assert told in code
            yield code.replace(told, 'os.environ["E2B_SANDBOX_URL"] = "http://%s"; %s' % (server.tcp, told))
        else:
            assert "127.0.0.1:%d" % port in code
            yield code.replace("127.0.0.1:%d" % port, server.tcp)


@contextlib.contextmanager
def with_notebook(folder, code, own, name):
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "outputs": [], "execution_count": None, "source": "import math\nmath.tau"}
    (folder / "notebook.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    yield code
    done = json.loads((folder / "notebook.ipynb").read_text())
    assert done["cells"][0]["outputs"][0]["data"]["text/plain"] in ("6.283185307179586", ["6.283185307179586"])


# What a snippet needs in addition to an empty folder: a context that yields its code, possibly changed.
SETUPS = {
    "smolagents": with_model,
    "langchain": with_model,
    "langchain-tools": with_model,
    "inspect_ai": with_model,
    "inspect_ai-tools": with_model,
    "pydantic-ai": with_model,
    "openai-agents": with_model,
    "anthropic": with_model,
    "python-http": with_server,
    "typescript-http": with_server,
    "typescript-ai": with_model,
    "typescript-langchain": with_model,
    "typescript-mcp": with_mcp_server,
    "tools-http": with_server,
    "jupyter": with_notebook,
    "e2b": with_dialect,
    "dify": with_dialect,
    "sandboxfusion": with_dialect,
    "sandboxfusion-submit": with_dialect,
}
DIALECTS = {"e2b", "dify", "sandboxfusion", "sandboxfusion-submit"}     # these have their own environment (tests/support/dialect_clients.py)


@pytest.fixture(scope="session")
def integrations():
    """Returns the interpreter of an environment with the client and the frameworks. Skips the test if they can't be installed."""
    done = subprocess.run([ROOT + "/tools/python-venv.sh", BUILD], capture_output=True, text=True, timeout=1200)
    if done.returncode == 77:
        pytest.skip("the packages can't be installed: " + done.stderr[-300:])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def typescript():
    """Returns the folder with the TypeScript client and its packages. Skips the test if they can't be had."""
    done = subprocess.run([ROOT + "/tools/typescript-build.sh", BUILD], capture_output=True, text=True, timeout=1200)
    if done.returncode == 77:
        pytest.skip("the packages can't be installed: " + done.stderr[-300:])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def compiled(folder, client, environment):
    """Compiles all TypeScript in this folder. Returns the command that runs the snippet."""
    os.symlink(client + "/node_modules", folder / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": {
        "target": "es2023", "lib": ["es2023", "esnext.disposable"], "module": "nodenext", "strict": True, "skipLibCheck": True, "types": ["node"]}}))
    node = shutil.which("node")
    done = subprocess.run([node, client + "/node_modules/typescript/bin/tsc", "-p", "."], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return [node, "snippet.js"]


def test_there_are_snippets_and_none_has_an_output_alone():
    assert len(NAMES) >= 8 and set(SETUPS) <= set(NAMES)
    assert {name for kind, name in BLOCKS if kind == "output"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_snippet(name, own, request, tmp_path, nothing_left):
    page, language, code = BLOCKS["test", name]
    needed = "dialect_client" if name in DIALECTS else "typescript" if language == "ts" else "integrations"
    given = request.getfixturevalue(needed)
    integrations = given.python if name in DIALECTS else given
    programs = [os.path.dirname(own.path), os.path.dirname(integrations), "/usr/bin", "/bin"]
    environment = {"PATH": ":".join(programs if language == "sh" else programs[:1] + programs[2:]), "HOME": str(tmp_path),
                   "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(tmp_path),
                   **sanitizer_options()}
    with contextlib.ExitStack() as stack:
        if name in SETUPS:
            code = stack.enter_context(SETUPS[name](tmp_path, code, own, name))
        (tmp_path / ("snippet.ts" if language == "ts" else "snippet")).write_text(code)
        command = compiled(tmp_path, integrations, environment) if language == "ts" else \
            [*{"python": [integrations], "sh": ["sh", "-eu"]}[language], "snippet"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
                              input="")
        assert done.returncode == 0, "%s: %s\n%s" % (page, done.stdout, done.stderr)
        if ("output", name) in BLOCKS:
            printed = [line for line in done.stdout.splitlines() if line.strip()]
            # Agents print their steps first; the output of the snippet comes last.
            wanted = BLOCKS["output", name][2].splitlines()
            assert printed[-len(wanted):] == wanted, done.stdout
