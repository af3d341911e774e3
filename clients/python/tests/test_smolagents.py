"""smolagents' CodeAgent with a scripted model: fixed messages, no network."""
import datetime
import decimal
import os

import pytest
from smolagents import CodeAgent, Tool, tool
from smolagents.default_tools import FinalAnswerTool
from smolagents.models import ChatMessage, Model
from smolagents.utils import AgentError

from pyexec.smolagents import PyexecExecutor, _caller


class Scripted(Model):
    """A model that gives these answers, and keeps the messages that it got."""

    def __init__(self, *answers):
        super().__init__(model_id="scripted")
        self.answers, self.told = list(answers), []

    def generate(self, messages, **unused):
        self.told.append("\n".join(part["text"] for message in messages for part in message.content))
        return ChatMessage(role="assistant", content="Thought: go on.\n<code>\n%s\n</code>" % self.answers.pop(0))


@tool
def discount(price: float, percent: int) -> float:
    """A price with a discount.

    Args:
        price: before
        percent: of it
    """
    return price * (100 - percent) / 100


@pytest.fixture
def executor(rpc):
    made = PyexecExecutor(["string"], client=rpc, policy={"use_import_whitelist": True, "timeout_ms": 2000})
    yield made
    made.cleanup()


def test_three_turns_with_an_error_mended_from_its_hint(executor):
    model = Scripted("import os\nos.listdir('.')",
                     "import statistics\nmean = statistics.mean([10, 20, rate * 100])\nprint('mean', mean)",
                     "final_answer(discount(mean, 50))")
    agent = CodeAgent([discount], model, executor=executor, verbosity_level=0, max_steps=3)
    assert agent.run("go", additional_args={"rate": 0.6}) == 15.0
    first, second, third = model.told
    assert "import 'os' not allowed" in second and "use open() with paths inside the working directory" in second
    assert "mean 30" in third
    assert [step.error is not None for step in agent.memory.steps if hasattr(step, "error") and hasattr(step, "code_action")] == [True, False, False]
    # Another run of the same agent, with the same state.
    model.answers = ["final_answer(mean)"]
    assert agent.run("again", reset=False) == 30.0


@pytest.mark.parametrize("answer", [
    {"a": (1, 2), "b": [None, True, 1.5, "é"]}, {1: "one", (2, 3): {4}}, frozenset({1}), b"\0\xff", 1 + 2j,
    datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.date(2026, 1, 2), datetime.time(1, 2), datetime.timedelta(seconds=5),
    decimal.Decimal("1.10"), "x" * 200000,
], ids=lambda value: type(value).__name__)
def test_final_answers_are_values_again(executor, answer):
    executor.send_tools({"final_answer": FinalAnswerTool()})
    output = executor("import datetime\nfrom decimal import Decimal\nfinal_answer(%r)" % (answer,))
    assert output.is_final_answer and output.output == answer and type(output.output) is type(answer)


def test_a_final_answer_that_can_not_be_sent_says_so(executor):
    executor.send_tools({"final_answer": FinalAnswerTool()})
    with pytest.raises(AgentError, match="final_answer can't pass on a function"):
        executor("final_answer(lambda: 1)")
    assert executor("final_answer(1)").output == 1


def test_what_a_script_raises_under_that_name_is_data_at_most(executor):
    """A script can forge the exception, but this changes only the answer of its own run, and nothing is unpickled."""
    forged = executor("class FinalAnswerException(Exception): pass\nraise FinalAnswerException('safe:[1]')")
    assert forged.is_final_answer and forged.output == [1]
    with pytest.raises(Exception, match="[Pp]ickle"):
        executor("raise FinalAnswerException('pickle:gASVAAAA')")
    with pytest.raises(Exception):
        executor("raise FinalAnswerException('no format')")


def test_values_output_and_a_lost_state(executor):
    output = executor("print('log')\nx = 5\nx")
    assert (output.output, output.logs, output.is_final_answer) == ("5", "log\n", False)
    with pytest.raises(AgentError, match="timeout"):
        executor("import time\ntry:\n time.sleep(60)\nfinally:\n time.sleep(60)")
    assert "restarted (timeout)" in executor("1").logs


def test_what_the_model_reads_is_bounded_and_tells_of_displays(executor):
    output = executor("print('å' * 40000)\n'€' * 40000")
    assert all("bytes left out" in text and len(text.encode()) < 20_100 for text in (output.logs, output.output))
    assert executor("print('a')\ndisplay('shown')").logs == "a\n\n'shown'"
    with pytest.raises(AgentError) as failure:
        executor("print('a' * 90000)\nraise ValueError('b' * 90000)")
    assert len(str(failure.value).encode()) < 20_200


class Needy(Tool):
    name, description, inputs, output_type = "needy", "needs a package", {}, "string"

    def forward(self):
        import requests
        return requests.__name__


def test_what_a_tool_as_source_needs_and_the_sandbox_lacks_is_said_first(rpc):
    executor = PyexecExecutor(client=rpc, host_tools=False)
    with pytest.raises(AgentError, match="needs the package 'requests'.*isolate_site"):
        executor.send_tools({"needy": Needy()})
    inner = CodeAgent([], Scripted("1"), executor=PyexecExecutor(client=rpc), name="inner", description="x", verbosity_level=0)
    with pytest.raises(AgentError, match="tools that are sent as source can't call them: inner"):
        executor.send_tools({"inner": inner})


def test_tools_as_source_run_in_the_sandbox(rpc):
    executor = PyexecExecutor(client=rpc, host_tools=False)
    executor.send_tools({"discount": discount, "final_answer": FinalAnswerTool()})
    output = executor("final_answer((discount(30.0, 50), {1}))")
    assert output.is_final_answer and output.output == (15.0, {1})


class Diary(Tool):
    """A tool that can't run in a sandbox: a closure of this process, whose source can't be sent."""

    name, description, output_type = "diary", "Writes an entry. Returns how many there are.", "integer"
    inputs = {"entry": {"type": "string", "description": "what to write"},
              "tags": {"type": "array", "description": "of the entry", "nullable": True}}

    def __init__(self):
        super().__init__()
        self.entries, self.secret = [], object()

    def forward(self, entry, tags=None):
        if not entry:
            raise ValueError("an entry has words")
        self.entries.append((os.getpid(), entry, tags))
        return len(self.entries)


def test_tools_run_in_this_process(px):
    diary, executor = Diary(), PyexecExecutor(client=px)
    agent = CodeAgent([diary], Scripted("n = [diary('a'), diary(entry='b', tags=['x']), diary('c', ['y', 'z'])]\nprint(n)", "final_answer(n)"),
                      executor=executor, verbosity_level=0)
    assert agent.run("go") == [1, 2, 3]
    assert diary.entries == [(os.getpid(), "a", None), (os.getpid(), "b", ["x"]), (os.getpid(), "c", ["y", "z"])]


def test_a_tools_signature_types_and_errors_in_the_script(executor):
    executor.send_tools({"diary": Diary(), "final_answer": FinalAnswerTool()})
    shown = executor("help(diary)").logs
    assert "diary(entry: str, tags=None) -> int" in shown and "Writes an entry." in shown and "what to write" in shown
    assert executor("try:\n    diary('')\nexcept ToolError as error:\n    said = str(error)\nsaid").output == "'an entry has words'"
    with pytest.raises(AgentError, match="ToolError: an entry has words"):
        executor("diary('')")
    with pytest.raises(AgentError, match="TypeError.*entry"):
        executor("diary(5)")
    with pytest.raises(AgentError, match="diary"):
        executor("diary('a', max_steps=1)")


def test_arguments_that_a_tool_does_not_declare_never_reach_it():
    """The checks in the script can be bypassed, so the adapter checks again."""
    with pytest.raises(TypeError, match=r"diary\(\) takes no argument 'sanitize_inputs_outputs'"):
        _caller(Diary())(entry="a", sanitize_inputs_outputs=True)


def test_a_result_that_is_no_json_is_an_error_in_words(executor):
    @tool
    def thing() -> object:
        """A thing."""
        return object()
    executor.send_tools({"thing": thing})
    with pytest.raises(AgentError, match="tool 'thing' returned a value that can't be written as JSON: a value of the type object"):
        executor("thing()")


def test_a_managed_agent_is_a_function_too(executor, rpc):
    inner = CodeAgent([], Scripted("final_answer('eight')"), executor=PyexecExecutor(client=rpc), name="helper", description="Helps.",
                      verbosity_level=0)
    outer = CodeAgent([], Scripted("report = helper('count', additional_args={'n': 8})", "final_answer(report)"), executor=executor,
                      managed_agents=[inner], verbosity_level=0)
    assert "eight" in outer.run("go") and "'n': 8" in inner.model.told[0]


def test_a_managed_agent_with_the_same_executor_is_refused_in_words(executor):
    inner = CodeAgent([], Scripted("1"), executor=executor, name="inner", description="x", verbosity_level=0)
    with pytest.raises(AgentError, match="'inner' uses the same executor"):
        CodeAgent([], Scripted("1"), executor=executor, managed_agents=[inner], verbosity_level=0, max_steps=1).run("go")


def test_a_name_that_a_script_can_not_have_is_refused(executor):
    named = Diary()
    named.name = "open"
    with pytest.raises(AgentError, match="'open' can't be a function of the script"):
        executor.send_tools({"open": named})


class Checked(FinalAnswerTool):
    """A final_answer tool of an application, which checks the answer in this process."""

    def forward(self, answer):
        if answer < 0:
            raise ValueError("the answer is not negative")
        return answer * 2


def test_the_hosts_own_final_answer_is_asked(executor):
    executor.send_tools({"final_answer": Checked()})
    with pytest.raises(AgentError, match="ToolError: the answer is not negative"):
        executor("final_answer(-1)")
    mended = executor("try:\n    final_answer(-1)\nexcept ToolError:\n    final_answer(answer=4)")
    assert mended.is_final_answer and mended.output == 8
    with pytest.raises(AgentError, match="FinalAnswerException"):
        executor("class FinalAnswerException(BaseException): pass\nraise FinalAnswerException('safe:5')")
    with pytest.raises(AgentError, match="takes no argument 'sanitize_inputs_outputs'"):
        executor("final_answer(1, sanitize_inputs_outputs=True)")


def test_tools_and_final_answer_stay_when_the_state_is_lost(executor):
    executor.send_tools({"diary": Diary(), "final_answer": FinalAnswerTool()})
    with pytest.raises(AgentError, match="timeout"):
        executor("import time\ntry:\n time.sleep(60)\nfinally:\n time.sleep(60)")
    assert "restarted (timeout)" in executor("diary('a')").logs
    assert executor("final_answer(diary('b'))").output == 2


def test_its_own_client_ends_with_it():
    executor = PyexecExecutor()
    with CodeAgent([], Scripted("final_answer('done')"), executor=executor, verbosity_level=0) as agent:
        assert agent.run("go") == "done"
    with pytest.raises(Exception, match="closed"):
        executor("1")
