import json
import subprocess
import sys

HEAVY = {"torch", "transformers", "matplotlib", "PIL", "jinja2", "rich", "scipy", "sklearn"}

LOAD = """
import importlib, json, pkgutil, sys
for name in ("data", "evaluate", "guards", "report"):
    package = importlib.import_module(f"sightguard.{name}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"sightguard.{name}.{module.name}")
print(json.dumps([sorted(m for m in sys.modules if m.startswith("sightguard.")), sorted(sys.modules)]))
"""


def test_the_text_half_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True, text=True, timeout=60)
    ours, loaded = json.loads(done.stdout)
    assert len(ours) >= 20
    assert HEAVY & set(loaded) == set()
