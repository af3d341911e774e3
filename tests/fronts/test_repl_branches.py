"""The commands of pyexec repl for branches."""
import os


def repl(program, tmp_path, text, *flags):
    return program.run("repl", *flags, input=text, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})


def test_cells_run_in_the_branch_that_was_chosen(own, tmp_path, nothing_left):
    done = repl(own, tmp_path, "x = [1]\n%fork 2\n%switch repl.2\nx.append(2)\nx\n%fork up down\n%switch repl\nx\n%switch up\nx\n"
                "%sessions\n", "--forkable")
    assert done.returncode == 0 and done.stderr == b"", done
    assert done.stdout.decode().splitlines() == [
        "repl.1, repl.2", "%switch repl.1 continues there. This session stays as it is.", "[1, 2]",
        "up, down", "%switch up continues there. This session stays as it is.", "[1]", "[1, 2]", *done.stdout.decode().splitlines()[7:]]
    listed = done.stdout.decode().splitlines()[7:]
    assert sorted(line[2:].split(":")[0] for line in listed) == ["down", "repl", "repl.1", "repl.2", "up"]
    assert [line for line in listed if line[0] == "*"] == ["* up: 4 cells"]


def test_ids_that_are_made_up_are_new(own, tmp_path):
    done = repl(own, tmp_path, "%fork repl.1\n%fork\n", "--forkable")
    assert b"repl.2\n" in done.stdout and done.stderr == b"", done


def test_one_cell_is_not_called_cells(own, tmp_path):
    assert repl(own, tmp_path, "x = 1\n%sessions\nx\n%sessions\n").stdout == b"* repl: 1 cell\n1\n* repl: 2 cells\n"


def test_wrong_commands_are_explained_and_change_nothing(own, tmp_path):
    text = "y = 1\n%fork 0\n%fork -1\n%fork up --down\n%fork 1001\n%fork repl\n%fork a/b\n%switch\n%switch none\n%sessions all\n%frok\n%switch " + "a" * 200 + "\ny\n"
    done = repl(own, tmp_path, text, "--forkable")
    assert done.returncode == 0 and done.stdout == b"1\n", done
    for said in (b"not 0", b"negative numbers: -1", b"numbers: --down", b"not 1001", b"'repl'", b"a/b", b"needs the id", b"'none'", b"takes no arguments", b"'%frok'", b"%fork [NUMBER"):
        assert said in done.stderr, (said, done.stderr)


def test_without_the_flag_it_says_which_one_is_needed(own, tmp_path):
    done = repl(own, tmp_path, "z = 5\n%fork\nz\n")
    assert done.stdout == b"5\n" and b"repl --forkable" in done.stderr, done
