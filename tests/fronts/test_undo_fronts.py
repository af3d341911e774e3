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


def test_undo_is_not_offered_where_no_state_is_kept(own):
    with Client(own, "--forkable") as client:
        assert "undo" not in [one["name"] for one in client.ask("tools/list")["result"]["tools"]]
        client.call("run_python", session_id="s", code="1")
        assert "no checkpoint" in text(client.call("undo", META, session_id="s"))


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
