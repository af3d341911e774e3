"""test_real_input.py runs every script of the corpus, and the benign scripts work on every interpreter."""
import os

import pytest

from test_interpreters import BUILDS
from test_real_input import AREAS, corpus, run_corpus  # noqa: F401 (a fixture)


def test_every_script_is_in_an_area(corpus):  # noqa: F811
    names = [path.name for path in corpus.glob("*.py")]
    assert len(names) > 100
    assert {name.split("_")[0] for name in names} <= set(AREAS)


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
@pytest.mark.parametrize("python", BUILDS, ids=lambda path: str(path).split("/")[-3:][0])
def test_benign_scripts(own, corpus, python):  # noqa: F811
    run_corpus(own, corpus, "ben_*", python, timeout=300, env=dict(os.environ, NO_COLOR="1"))
