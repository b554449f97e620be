# The resolved configuration, names and helper functions of the other files here.
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

DEGRADATIONS, RESTORERS, DATASETS = (
    CONFIG["degradations"],
    CONFIG["restorers"],
    CONFIG["datasets"],
)
TABLES_IN_ALL = [name for name, table in CONFIG["tables"].items() if table["in_all"]]
METHODS = sorted(
    {method for table in CONFIG["tables"].values() for method in table["methods"]}
)
SEEDS = CONFIG["seeds"]
REPORTED = sorted({CONFIG["tables"][table]["dataset"] for table in TABLES_IN_ALL})
# The interpreter that runs Snakemake, unless environments are deployed (--sdm conda).
PYTHON = f"{'python' if workflow.deployment_settings.deployment_method else sys.executable} {ROOT}/src"


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


# data.smk
# A user's folders are looked at again in every run: their listing is a parameter, so a new photo makes a new dataset.
def listing(wildcards):
    return settings.folder_listing(DATASETS[wildcards.dataset])


# synthesis.smk
def trained_model(wildcards):
    """The trained model that a degradation samples from; none for one that learns nothing."""
    entry = DEGRADATIONS[wildcards.degradation]
    if not learned(registry.DEGRADATIONS, entry["kind"]):
        return []
    return f"results/models/{wildcards.dataset}/{entry['model']}/seed{wildcards.seed}/model.json"


def sampling_code(script):
    return lambda wildcards: code(
        script, (registry.DEGRADATIONS, DEGRADATIONS[wildcards.degradation]["kind"])
    )


def pairs_threads(wildcards):
    """One where neither a network samples nor short trainings choose the strength: seconds, mostly of starting."""
    entry = DEGRADATIONS[wildcards.degradation]
    chosen = entry.get("sampling", {}).get("candidates")
    return (
        CONFIG["threads"]
        if chosen or learned(registry.DEGRADATIONS, entry["kind"])
        else 1
    )


def model_argument(wildcards, input):
    return f"--model {Path(input.model).parent}" if input.model else ""


# restoration.smk
def training_pairs(wildcards):
    degradation = chain_of(wildcards).degradation
    if degradation is None:
        return []
    return f"results/pairs/{wildcards.dataset}/{degradation}/seed{wildcards.seed}/degraded.npy"


def restorer_code(script):
    return lambda wildcards: code(
        script, (registry.RESTORERS, RESTORERS[chain_of(wildcards).restorer]["kind"])
    )


def fit_arguments(wildcards, input):
    return f"--pairs {Path(input.pairs).parent}" if input.pairs else ""


# evaluation.smk
def table_metrics(wildcards):
    table = CONFIG["tables"][wildcards.table]
    return expand(
        "results/metrics/{dataset}/{method}/seed{seed}/{file}.csv",
        dataset=table["dataset"],
        method=table["methods"],
        seed=SEEDS,
        file=["images", "set"],
    )


def table_arguments(wildcards):
    table = CONFIG["tables"][wildcards.table]
    words = [
        "--dataset",
        table["dataset"],
        "--methods",
        *table["methods"],
        "--metrics",
        *table["metrics"],
    ]
    words += [
        "--metrics-dir",
        f"results/metrics/{table['dataset']}",
        "--seeds",
        *map(str, SEEDS),
    ]
    words += ["--rivals", *table["rivals"]] if table["rivals"] else []
    if "reference" in table:
        words += [
            "--published",
            f"{ROOT}/workflow/references/published.csv",
            "--reference",
            table["reference"],
        ]
    return words


# report.smk
def reported_methods(dataset):
    tables = (CONFIG["tables"][name] for name in TABLES_IN_ALL)
    return list(
        dict.fromkeys(
            method
            for table in tables
            if table["dataset"] == dataset
            for method in table["methods"]
        )
    )


def training_logs(dataset):
    """Every training log behind the reported methods, by the name of what was trained."""
    logs = {}
    for method in reported_methods(dataset):
        parts = settings.parse_method(CONFIG, method)
        if parts.degradation is None:
            continue
        entry = DEGRADATIONS[parts.degradation]
        trained = (
            [entry["model"]] if learned(registry.DEGRADATIONS, entry["kind"]) else []
        )
        for name in (*trained, method):
            logs |= {
                f"{name}/seed{seed}": f"results/models/{dataset}/{name}/seed{seed}/log.csv"
                for seed in SEEDS
            }
    return logs


def noise_folders(dataset):
    """The real noise and each reported model's, where the dataset has pairs to measure the real one."""
    if not settings.has_role(CONFIG, dataset, "test"):
        return {}
    used = (
        settings.parse_method(CONFIG, method).degradation
        for method in reported_methods(dataset)
    )
    models = [
        name
        for name in dict.fromkeys(used)
        if name and DEGRADATIONS[name]["kind"] != "real_pairs"
    ]
    return {
        name: f"results/noise/{dataset}/{name}/seed{SEEDS[0]}"
        for name in ("real", *models)
        if name == "real" or settings.samples_from_clean(DEGRADATIONS[name])
    }


def restored_folders(dataset):
    return {
        method: f"results/restored/{dataset}/{method}/seed{SEEDS[0]}"
        for method in reported_methods(dataset)
    }


def named(paths):
    return [f"{name}={path}" for name, path in paths.items()]


def report_figures():
    figures = {
        f"table/{table}": f"results/figures/tables/{table}.png"
        for table in TABLES_IN_ALL
    }
    for dataset in REPORTED:
        figures[f"comparison/{dataset}"] = f"results/figures/{dataset}/comparison"
        figures[f"losses/{dataset}"] = f"results/figures/{dataset}/losses.png"
        if noise_folders(dataset):
            figures[f"noise_patches/{dataset}"] = (
                f"results/figures/{dataset}/noise_patches.png"
            )
            figures[f"noise_statistics/{dataset}"] = (
                f"results/figures/{dataset}/noise_statistics.png"
            )
    return figures


def report_arguments():
    words = [
        "--table",
        *(f"{table}=results/tables/{table}.csv" for table in TABLES_IN_ALL),
    ]
    words += ["--figure", *named(report_figures())]
    words += [
        "--dataset-dir",
        *(f"{dataset}=results/data/{dataset}" for dataset in REPORTED),
    ]
    words += ["--restored"]
    words += [
        f"{dataset}/{name}"
        for dataset in REPORTED
        for name in named(restored_folders(dataset))
    ]
    return words
