"""Imports, once, what the commands need that `tests/calling.py` forks from the process with it."""

import gc
import importlib
import pkgutil

import hard
from hard.classifier import runtime_name
from hard.plugins import available

for found in pkgutil.walk_packages(hard.__path__, "hard."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
for group in ("sources", "sinks"):
    available(group)
runtime_name()
importlib.import_module("tests.calling")
gc.freeze()  # what is there for good needs no look in every process
