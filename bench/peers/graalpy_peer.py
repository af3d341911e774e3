# SPDX-License-Identifier: Apache-2.0
"""GraalPy, community edition, inside a JVM: a context for each run, all with one engine. On a stock JDK it only interprets: its compiler
is part of the JDKs of GraalVM, which no package manager here has."""
import os

from . import install as installing

VERSION = "25.0.1"
WHAT = {"name": "GraalPy", "mode": "a new context for each run, one engine, on a stock JDK (interpreter only)",
        "isolates": {"processes": "no threads and processes unless allowed", "network": "none unless allowed", "files": "none unless allowed",
                     "memory": "no: the heap of the JVM", "cpu": "no", "kernel": "no: only the interpreter and the JVM"}}


def install(place):
    jars = place.maven("graalpy", [("org.graalvm.polyglot", "polyglot", VERSION, "jar"),
                                   ("org.graalvm.polyglot", "python-community", VERSION, "pom")])
    classes = os.path.join(os.path.dirname(jars), "classes")
    installing.command(["javac", "-cp", jars + "/*", "-d", classes, os.path.join(place.bench, "peers/GraalPyDriver.java")])
    java = installing.command(["java", "-version"]).splitlines()[0]
    return ["java", "-cp", "%s/*:%s" % (jars, classes), "GraalPyDriver"], "GraalPy %s, %s" % (VERSION, java)
