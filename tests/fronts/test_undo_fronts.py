"""Undo by the fronts: the tool of agents, and the command of the prompt. What an undo does is tested in
tests/kernel/test_checkpoints.py."""
import os

import pytest

from mcp_stdio import META, Client, text

CRASH = "import os; x.append(9); os._exit(7)"


@pytest.fixture
def client(own, nothing_left):
    with Client(own, "--auto-checkpoint", "--any-import") as made:
        yield made


def test_a_model_undoes_calls(client):
    assert client.ask("tools/list")["result"]["tools"][-1]["name"] == "undo"
    for code in ("x = [1]", "x.append(2)", "x.append(3)"):
        client.call("run_python", session_id="s", code=code)
    undone = client.call("undo", META, session_id="s")
    assert undone["structuredContent"]["to"] == 3 and undone["structuredContent"]["checkpoints"] == [1, 2] and '"to":3' in text(undone)
    assert text(client.call("run_python", session_id="s", code="x")) == "[1, 2]"
    assert client.call("undo", META, session_id="s", to=2)["structuredContent"]["to"] == 2
    assert text(client.call("run_python", session_id="s", code="x")) == "[1]"
    died = client.call("run_python", session_id="s", code=CRASH)
    assert died["isError"] and "as it was before this call" in text(died) and "lost" not in text(died)
    assert text(client.call("run_python", session_id="s", code="x")) == "[1]"


@pytest.mark.parametrize("arguments, says", [
    ({"session_id": "none"}, "session_not_found"), ({"session_id": "s", "to": 0}, "from 1 on"), ({"session_id": "s", "to": 7}, "not kept"),
    ({"session_id": "s", "to": "1"}, "not an integer"), ({}, "session_id: missing"), ({"session_id": "s", "count": 1}, "count"),
])
def test_bad_arguments_of_undo(client, arguments, says):
    client.call("run_python", session_id="s", code="1")
    answer = client.call("undo", META, **arguments)
    assert answer["isError"] and says in text(answer)


def offered(client):
    tools = {one["name"]: one for one in client.ask("tools/list")["result"]["tools"]}
    return "undo" in tools, "checkpoint" in tools["run_python"]["inputSchema"]["properties"]


def test_undo_and_checkpoints_are_not_offered_where_no_state_can_be_kept(own):
    with Client(own) as client:
        assert offered(client) == (False, False)
        refused = client.call("run_python", session_id="s", code="1", checkpoint=True)
        assert refused["isError"] and "forkable" in text(refused) and "auto_checkpoint" in text(refused)
        client.call("run_python", session_id="s", code="1")
        assert "no checkpoint" in text(client.call("undo", META, session_id="s"))


def test_a_model_keeps_the_state_before_a_call_that_it_may_undo(own, nothing_left):
    with Client(own, "--forkable", "--any-import") as client:
        assert offered(client) == (True, True)
        client.call("run_python", session_id="s", code="x = [1]")
        client.call("run_python", session_id="s", code="x.append(2)", checkpoint=True)
        client.call("run_python", session_id="s", code="x.append(3)", checkpoint=False)
        undone = client.call("undo", META, session_id="s")["structuredContent"]
        assert undone["to"] == 2 and undone["checkpoints"] == []
        assert text(client.call("run_python", session_id="s", code="x")) == "[1]"
        died = client.call("run_python", session_id="s", code=CRASH, checkpoint=True)
        assert died["isError"] and "as it was before this call" in text(died)
        assert "not true or false" in text(client.call("run_python", session_id="s", code="1", checkpoint="yes"))
        assert "no session" in text(client.call("run_python", code="1", checkpoint=True))


def test_a_reset_by_a_model_ends_a_session_that_keeps_states(client):
    for code in ("x = 1", "x = 2"):
        client.call("run_python", session_id="s", code=code)
    assert client.call("reset_session", session_id="s")["structuredContent"] == {"session_id": "s", "existed": True}
    assert "session_not_found" in text(client.call("undo", META, session_id="s"))
    assert text(client.call("run_python", session_id="s", code="'x' in globals()")).startswith("False")


def repl(program, tmp_path, cells, *flags):
    return program.run("repl", *flags, input=cells, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})


def test_cells_of_the_prompt_are_undone(own, tmp_path, nothing_left):
    done = repl(own, tmp_path, "x = [1]\nx.append(2)\nx.append(3)\n%undo\nx\n%undo 2\nx\n" + CRASH + "\nx\n", "--auto-checkpoint", "--any-import")
    assert done.stdout.decode().splitlines() == ["The session is as it was before cell 3.", "[1, 2]",
                                                 "The session is as it was before cell 2.", "[1]", "[1]"], done
    assert b"as it was before this cell" in done.stderr and b"restarted" not in done.stderr


def test_wrong_undos_at_the_prompt_are_explained(own, tmp_path):
    done = repl(own, tmp_path, "y = 1\n%undo 0\n%undo x\n%undo 1 2\n%undo 8\ny\n", "--auto-checkpoint")
    assert done.stdout == b"1\n" and done.stderr.count(b"number of a cell") == 3 and b"not kept" in done.stderr, done
    done = repl(own, tmp_path, "y = 1\n%undo\ny\n")
    assert done.stdout == b"1\n" and b"--auto-checkpoint" in done.stderr, done
