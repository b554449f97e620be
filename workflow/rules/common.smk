# What every rule file uses: the resolved configuration, names and helpers.
import json
import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from nopairs import config as settings
from nopairs import registry
from nopairs.digest import code_digest, module_file
from nopairs.errors import NopairsError

try:
    CONFIG = settings.resolve(config, ROOT / "workflow/schemas/config.schema.yaml")
except NopairsError as error:
    raise WorkflowError(str(error))

DEGRADATIONS, RESTORERS, DATASETS = CONFIG["degradations"], CONFIG["restorers"], CONFIG["datasets"]
TABLES_IN_ALL = [name for name, table in CONFIG["tables"].items() if table["in_all"]]
METHODS = sorted({method for table in CONFIG["tables"].values() for method in table["methods"]})
SEEDS = CONFIG["seeds"]
PYTHON = f"{sys.executable} {ROOT}/src"


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=any_of(DATASETS),
    degradation=any_of(DEGRADATIONS),
    method=any_of(METHODS),
    table=any_of(CONFIG["tables"]),
    seed=any_of(map(str, SEEDS)),


def chain_of(wildcards):
    """The method's chain: names of its degradation (or None) and of its restorer."""
    return settings.parse_method(CONFIG, wildcards.method)


def entry_of(wildcards, *parts):
    """The parts of a degradation's or restorer's entry that a job depends on, as JSON."""
    if "degradation" in wildcards.keys():
        entry = DEGRADATIONS[wildcards.degradation]
    else:
        entry = RESTORERS[chain_of(wildcards).restorer]
    return json.dumps({part: entry[part] for part in ("kind", *parts) if part in entry})


def code(script, *kinds):
    """A digest of a script and of the modules of (registry, kind) pairs: a job runs again when it changes."""
    modules = [module_file(registry.module_of(table, kind)) for table, kind in kinds]
    return code_digest(script, *modules)


def learned(table, kind):
    return getattr(registry.find(table, kind), "learned", False)


def more(amount):
    """A resource that grows with each attempt."""
    return lambda wildcards, attempt: amount * attempt


def gpu_if(wanted):
    """One GPU for a job that trains or applies a network, unless the configuration says `device: cpu`."""
    return 1 if wanted and CONFIG["device"] != "cpu" else 0
