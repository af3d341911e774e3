# Asked: read settings from INI, TOML, environment and arguments with sensible precedence; print system facts.
# Makes: app.ini app.toml
import argparse
import configparser
import os
import platform
import sys
import tomllib
from pathlib import Path

Path("app.ini").write_text("[server]\nport = 8000\nname = ini\n")
Path("app.toml").write_text('[server]\nname = "toml"\ntags = ["a", "b"]\n')
ini = configparser.ConfigParser()
ini.read("app.ini")
settings = dict(ini["server"])
settings |= tomllib.loads(Path("app.toml").read_text())["server"]
settings["name"] = os.environ.get("APP_NAME", settings["name"])
parser = argparse.ArgumentParser(prog="app")
parser.add_argument("--port", type=int, default=int(settings["port"]))
parser.add_argument("--verbose", action="store_true")
arguments = parser.parse_args()
settings["port"] = arguments.port
print(settings, arguments.verbose)
print(platform.system(), sys.version_info >= (3, 9), os.path.basename(os.getcwd()) != "", os.getenv("HOME") is not None, os.cpu_count() >= 1)
