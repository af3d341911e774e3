"""inspect_ai: an evaluation with a scripted model, and calls of the sandbox environment itself."""
import asyncio
import os

import pytest
from inspect_ai import Task, eval
from inspect_ai.approval import ApprovalPolicy, auto_approver
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageTool, ModelAPI, ModelOutput, get_model, modelapi
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import ToolDef, ToolError, python, tool
from inspect_ai.util import OutputLimitExceededError, SandboxEnvironmentSpec, SandboxUnavailableError, SandboxUserUnsupportedError

from pyexec.inspect_ai import PyexecConfig, PyexecSandboxEnvironment, parse_command, python_program

CONFIG = PyexecConfig(policy={"use_import_whitelist": False, "banned_imports": []})


@modelapi(name="scripted")
class Scripted(ModelAPI):
    """A model that gives these answers. (inspect_ai's own mock model needs a table from the network to count tokens.)"""

    def __init__(self, model_name, base_url=None, api_key=None, config=None, outputs=()):
        super().__init__(model_name, base_url, api_key, [], config)
        self.outputs = iter(outputs)

    async def generate(self, input, tools, tool_choice, config):
        return next(self.outputs)

    async def count_tokens(self, input, config=None):
        return 1


def inside(scenario, config=CONFIG):
    async def main():
        environments = await PyexecSandboxEnvironment.sample_init("task", config, {})
        box = environments["default"]
        try:
            return await scenario(box)
        finally:
            folder = box._folder.path
            await PyexecSandboxEnvironment.sample_cleanup("task", config, environments, False)
            assert not os.path.exists(folder)
    return asyncio.run(main())


def test_an_evaluation_in_three_turns(tmp_path):
    """Uses the python tool of inspect_ai. The sandbox is found by its entry point. The model corrects an error with the help of its hint."""
    def call(code):
        return ModelOutput.for_tool_call("scripted/model", "python", {"code": code})
    model = get_model("scripted/model", outputs=[
        call("import numpy\nprint(numpy.mean([1, 2, 6]))"),
        call("import statistics\nopen('mean', 'w').write(str(statistics.mean([1, 2, 6])))"),
        call("print(open('mean').read(), open('given.txt').read())"),
        ModelOutput.from_content("scripted/model", "the mean is 3")])
    task = Task(dataset=[Sample("mean?", target="3", files={"given.txt": "of the sample"})],
                solver=[use_tools(python(timeout=10)), generate()], scorer=includes(),
                sandbox=SandboxEnvironmentSpec("pyexec", PyexecConfig()))
    log, = eval(task, model=model, log_dir=str(tmp_path), display="none")
    assert log.status == "success", log.error
    sample, = log.samples
    first, second, third = [message.text for message in sample.messages if isinstance(message, ChatMessageTool)]
    assert "import 'numpy' not allowed. Use statistics, math" in first and second.strip() == "" and third == "3 of the sample\n"
    assert log.results.scores[0].metrics["accuracy"].value == 1.0


def test_commands_that_are_python():
    assert parse_command(["python3", "-c", "1", "a"]) == ("1", None, ["-c", "a"])
    assert parse_command(["python", "x.py"]) == (None, "x.py", ["x.py"])
    for stdin in (["python3"], ["python3.11", "-"], ["/usr/bin/python3", "-u", "-"], ["bash", "--login", "-c", "python3 -"],
                  ["sh", "-c", "python3"]):
        assert parse_command(stdin) == (None, None, ["-"]), stdin
    assert parse_command(["bash", "-lc", "python3 -c 'print(1)'"]) is None      # brackets can have a meaning in a shell
    for other in ([], ["ls"], ["bash", "-c", "ls"], ["bash", "-c", "python3 x.py; ls"], ["bash", "-c", "python3 $X"], ["bash"],
                  ["python3", "-m", "pip"], ["python3", "-c"], ["bash", "-c", "python3 'x"], ["/evil/python3x", "a"]):
        assert parse_command(other) is None, other


def test_exec():
    async def scenario(box):
        done = await box.exec(["python3", "-c", "import sys\nprint(input(), flush=True)\nprint('e', file=sys.stderr)\nsys.exit(3)"], input="given\n")
        assert (done.success, done.returncode, done.stdout, done.stderr) == (False, 3, "given\n", "e\n")
        assert (await box.exec(["bash", "--login", "-c", "python3 -"], input=b"print('\xc3\xa9')\n5")).stdout == "é\n"
        await box.write_file("src/p.py", "import os\nprint(os.getcwd().rpartition('/')[2], os.environ['A'])")
        assert (await box.exec(["python3", "p.py"], cwd="src", env={"A": "b"})).stdout == "src b\n"
        assert (await box.exec(["python3", box._folder.path + "/src/p.py"], env={"A": "b"})).stdout.endswith(" b\n")
        failed = await box.exec(["python3", "-c", "1/0"])
        assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr
        with pytest.raises(TimeoutError):
            await box.exec(["python3", "-c", "import time\ntime.sleep(30)"], timeout=1)
        with pytest.raises(OutputLimitExceededError):
            await box.exec(["python3", "-c", "print('x' * (11 << 20))"])
        for command, said in ((["ls", "-l"], "no shell and no program but Python"), (["python3", "nosuch.py"], "can't open file"),
                              (["python3", "-c", "1", "arg"], "can't pass arguments")):
            refused = await box.exec(command)
            assert not refused.success and said in refused.stderr
        with pytest.raises(SandboxUserUnsupportedError):
            await box.exec(["python3", "-c", "1"], user="root")
        assert "NUL" in (await box.exec(["python3", "-c", "1\0"])).stderr
        results = await asyncio.gather(*(box.exec(["python3", "-c", "print(%d)" % number]) for number in range(20)))
        assert [one.stdout for one in results] == ["%d\n" % number for number in range(20)]
        await box._client.close()
        with pytest.raises(SandboxUnavailableError):
            await box.exec(["python3", "-c", "1"])
    inside(scenario)


def test_files():
    async def scenario(box):
        await box.write_file("a/b.txt", "one\r\ntwo\n")
        assert await box.read_file("a/b.txt") == "one\r\ntwo\n" and await box.read_file(box._folder.path + "/a/b.txt", text=False) == b"one\r\ntwo\n"
        await box.write_file("a/b.txt", b"\xff")
        with pytest.raises(UnicodeDecodeError):
            await box.read_file("a/b.txt")
        with pytest.raises(FileNotFoundError):
            await box.read_file("nosuch")
        with pytest.raises(IsADirectoryError):
            await box.read_file("a")
        with pytest.raises(IsADirectoryError):
            await box.write_file("a", "x")
        done = await box.exec(["python3", "-c", "open('a/c', 'w').write('by the script')"])
        assert done.success and await box.read_file("a/c") == "by the script"
    inside(scenario)


def test_files_never_lead_out_of_the_folder(tmp_path):
    """The folder is on the host, so a symbolic link that the script made in it is not followed."""
    secret = tmp_path / "secret"
    secret.write_text("secret")

    async def scenario(box):
        code = "import os\nos.symlink(%r, 'link')\nos.symlink(%r, 'folder')\nos.symlink('.', 'self')" % (str(secret), str(tmp_path))
        linked = await box.exec(["python3", "-c", code])
        assert linked.success, linked.stderr
        os.mkfifo(box._folder.path + "/pipe")
        for name in ("link", "folder/secret", "../" + secret.name, str(secret), "/etc/passwd", "a/../../x", "pipe", "self/link"):
            with pytest.raises(OSError):
                await asyncio.wait_for(box.read_file(name), 5)
            with pytest.raises(OSError):
                await asyncio.wait_for(box.write_file(name, "overwritten"), 5)
            assert not (await box.exec(["python3", name])).success
        assert secret.read_text() == "secret" and os.listdir(tmp_path) == ["secret"]
    inside(scenario)


def test_a_cancelled_exec_ends_its_run():
    async def scenario(box):
        task = asyncio.create_task(box.exec(["python3", "-c", "import time\nopen('began', 'w')\ntime.sleep(2)\nopen('late', 'w')"]))
        await asyncio.sleep(0.7)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(2)
        assert sorted(os.listdir(box._folder.path)) == ["began"]
    inside(scenario)


@tool
def price():
    async def execute(item: str, amount: int = 1) -> int:
        """The price of an item.

        Args:
            item: its name
            amount: how many
        """
        if item == "milk":
            raise ToolError("there is no milk")
        if item == "fire":
            raise RuntimeError("the shop is on fire")
        return {"tea": 3, "rice": 2}[item] * amount
    return execute


@tool
def note():
    async def execute(text: str) -> str:
        """Writes a note.

        Args:
            text: of the note
        """
        return "x" * 40_000 + text
    return execute


def sample_with(tools, *codes, sandbox=None, tmp_path, **more):
    model = get_model("scripted/model", outputs=[*(ModelOutput.for_tool_call("scripted/model", "python", {"code": code}) for code in codes),
                                                 ModelOutput.from_content("scripted/model", "done")])
    task = Task(dataset=[Sample("go", files={"given.txt": "of the sample"} if sandbox else None)],
                solver=[use_tools(python_program(tools)), generate()], sandbox=sandbox)
    log, = eval(task, model=model, log_dir=str(tmp_path), display="none", **more)
    return log


def answers(log):
    assert log.status == "success", log.error
    return [message.text for message in log.samples[0].messages if isinstance(message, ChatMessageTool)]


def test_one_program_calls_many_tools(tmp_path):
    """The calls are in the transcript. A result is the same text as for a call of the model, and is not cut."""
    log = sample_with([price(), note()], "[int(price(item, amount=2)) for item in ['tea', 'rice']], len(note('end'))",
                      "try: price('milk')\nexcept ToolError as error: said = str(error)\nsaid", "price(5)", tmp_path=tmp_path)
    counted, said, wrong = answers(log)
    assert counted == "([6, 4], 40003)" and said == "'there is no milk'" and "TypeError" in wrong
    events = [event.function for event in log.samples[0].events if event.event == "tool"]
    assert events.count("price") == 3 and events.count("note") == 1 and events.count("python") == 3


def test_a_program_has_the_samples_files(tmp_path):
    log = sample_with([price()], "open('given.txt').read() + str(price('tea'))", sandbox="pyexec", tmp_path=tmp_path)
    assert answers(log) == ["'of the sample3'"]


def test_the_description_lists_the_functions():
    definition = ToolDef(python_program([price()]))
    assert definition.name == "python" and "- price(item: str, amount: int = 1): The price of an item." in definition.description


def test_approval_policies_hold_for_the_calls_of_a_program(tmp_path):
    policies = [ApprovalPolicy(auto_approver("reject"), "note"), ApprovalPolicy(auto_approver("approve"), "*")]
    log = sample_with([price(), note()], "price('tea')", "note('a')", tmp_path=tmp_path, approval=policies)
    allowed, denied = answers(log)
    assert allowed == "'3'" and "PermissionError: tool 'note' denied" in denied


def test_what_is_fatal_for_a_sample_stays_fatal(tmp_path):
    log = sample_with([price()], "try: price('fire')\nexcept Exception: pass", tmp_path=tmp_path)
    assert log.status == "error" and "the shop is on fire" in log.error.message
