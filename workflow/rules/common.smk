# The resolved configuration, names, and what several files here ask for; ../functions has the rest.
include: "../functions/resources.smk"


import functools
import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake_interface_executor_plugins.settings import ExecMode

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))
# Networks free and request tensors of the same sizes at each layer. By default glibc gives the large ones back to the kernel, which clears
# every page again: a third of the processor time of a restoration (docs/performance.md).
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**31))

from nopairs import config as settings
from nopairs import registry
from nopairs.data import weights
from nopairs.data.checks import check_folders
from nopairs.data.store import MIRROR_VARIABLE
from nopairs.digest import code_digest, module_file
from nopairs.errors import MARK, NopairsError, told_in
from nopairs.files import check_writable, remove_leftovers
from nopairs.metrics.names import METRICS, PARAMETERS, USUAL
from nopairs.models import make_options
from nopairs.priors.operators import ESTIMATED
from nopairs.reporting.published import check_reference
from nopairs.restorers.flow_paths import evaluations
from nopairs.training.hardware import pick_device
from nopairs.transport.bias import BiasOptions


def say(error):
    print(f"nopairs{MARK}{error}", file=sys.stderr)


def insist(check, *arguments):
    """Return what `check` returns; its NopairsError ends the run with one sentence, where Snakemake would print a dozen lines."""
    try:
        return check(*arguments)
    except NopairsError as error:
        say(error)
        sys.exit(1)


CONFIG = insist(settings.resolve, config, ROOT / "workflow/schemas/config.schema.yaml")

DEGRADATIONS, RESTORERS, PRIORS, DATASETS = (
    CONFIG["degradations"],
    CONFIG["restorers"],
    CONFIG["priors"],
    CONFIG["datasets"],
)
# Datasets whose test images are observed by an operator.
OBSERVED = [name for name in DATASETS if "operator" in DATASETS[name]]
if CONFIG["data"]["mirror"]:
    os.environ.setdefault(MIRROR_VARIABLE, CONFIG["data"]["mirror"])
TABLES_IN_ALL = [name for name, table in CONFIG["tables"].items() if table["in_all"]]
SHOWN = [*CONFIG["tables"].values(), *CONFIG["curves"].values()]
METHODS = sorted({method for shown in SHOWN for method in shown["methods"]})
AUTOENCODERS, TRANSPORTS = CONFIG["autoencoders"], CONFIG["transports"]
CHAINS = {method: settings.parse_method(CONFIG, method) for method in METHODS}
# Methods that end in a transport, what is fitted for them, and what they begin with, which need not be in a table.
MOVED = {name: chain for name, chain in CHAINS.items() if chain.transport}
FITTED = {chain.fitted: chain for chain in MOVED.values()}
RESTORING = [
    chain for chain in CHAINS.values() if not (chain.autoencoder or chain.prior)
]
# Methods that others learn to repeat.
TEACHERS = {
    teacher.name: teacher
    for chain in RESTORING
    for teacher in chain.teachers(RESTORERS)
}
BASES = sorted(
    {
        name
        for chain in [*RESTORING, *TEACHERS.values()]
        for name in (chain.base, chain.trained(RESTORERS))
    }
)
# Trainings whose restorer follows a flow.
FLOWS = sorted(
    {
        chain.trained(RESTORERS)
        for chain in RESTORING
        if RESTORERS[chain.restorer]["kind"] == "resflow"
    }
)
SEEDS = CONFIG["seeds"]
# A dataset's share of all cores: a job that asked for all of them would wait for as long as those of other datasets keep one busy. How
# many there are is not known where jobs go to a cluster.
PREPARING = settings.used_datasets(CONFIG)
CORES_A_DATASET = max(
    1, (workflow.resource_settings.cores or CONFIG["threads"]) // (len(PREPARING) or 1)
)
# Figures show the first dataset of a table that is over several.
REPORTED = sorted({CONFIG["tables"][table]["datasets"][0] for table in TABLES_IN_ALL})
# Values of papers, which stand beside those of tables.
PUBLISHED = ROOT / "workflow/references/published.csv"
# What can be checked before any job starts; the jobs' own Snakemake processes need not do it again.
if workflow.exec_mode == ExecMode.DEFAULT:
    for folder in filter(os.path.isdir, (".", ".snakemake", "results")):
        insist(check_writable, folder)
    for dataset in sorted(PREPARING):
        insist(check_folders, DATASETS[dataset])
    for restorer in sorted({method.restorer for method in RESTORING}):
        insist(settings.listing, settings.image_folders(RESTORERS[restorer]))
    for table in CONFIG["tables"].values():
        if "reference" in table:
            insist(check_reference, PUBLISHED, table["reference"])
    for dataset in settings.unused_folders(CONFIG):
        print(
            f"nopairs: note: datasets: {dataset}: no table is over it; set `dataset: {dataset}`",
            file=sys.stderr,
        )


onstart:
    remove_leftovers("results")
    # To keep to a number of jobs a second, Snakemake looks at all waiting jobs again and again, each second once for every job that
    # has ended: on a cluster, soon without a pause. `jobs` limits them, too.
    workflow.scheduler.job_rate_limiter = None
    if workflow.local_exec:
        insist(pick_device, CONFIG["device"])


onerror:
    for job in sorted(workflow.scheduler.failed, key=str):
        parts = getattr(job, "jobs", [job])  # a group has several
        logs = [(part.rule, Path(log)) for part in parts for log in part.log]
        told = [
            f"{rule}: {message}" for rule, log in logs if (message := told_in(log))
        ]
        for sentence in told or [
            f"{job.name}: ended without a message; see {job.log}"
        ]:
            say(sentence)


# The interpreter that runs Snakemake, unless environments are deployed (--sdm conda). Quoted for the shell, as the scripts' folder is.
INTERPRETER = (
    "python"
    if workflow.deployment_settings.deployment_method
    else shlex.quote(sys.executable)
)
SCRIPTS = shlex.quote(f"{ROOT}/src")
PYTHON = f"{INTERPRETER} {SCRIPTS}"


def with_python(wildcards, input):
    """What runs a script. Snakemake keeps no record of parameters that are given `input`: a moved checkout makes no result old."""
    return PYTHON


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


# Published weights of the catalogue that methods name, by <entry>/<path>. Each is fetched by itself: another method's make no model old.
WEIGHTS = {
    reference.removeprefix(weights.PREFIX): reference
    for entry in (
        *DEGRADATIONS.values(),
        *RESTORERS.values(),
        *AUTOENCODERS.values(),
    )
    for reference in weights.references(entry.get("options", {}))
}


wildcard_constraints:
    dataset=any_of(DATASETS),
    weights=any_of(WEIGHTS),
    degradation=any_of(DEGRADATIONS),
    method=any_of({*METHODS, *BASES}),
    base=any_of(BASES),
    flow=any_of(FLOWS),
    moved=any_of(MOVED),
    fitted=any_of(FITTED),
    autoencoder=any_of(AUTOENCODERS),
    table=any_of(CONFIG["tables"]),
    curve=any_of(CONFIG["curves"]),
    seed=any_of(map(str, SEEDS)),


def chain_of(wildcards):
    """The method's chain: names of its degradation (or None), of its restorer, and of its transport (or None)."""
    name = next(
        wildcards[key]
        for key in ("method", "base", "moved", "fitted")
        if key in wildcards.keys()
    )
    return settings.parse_method(CONFIG, name)


def entry_of(wildcards, *parts):
    """The parts of a degradation's, restorer's or prior's entry that a job depends on, as JSON."""
    if "degradation" in wildcards.keys():
        entry = settings.with_dataset_defaults(
            CONFIG, source_of(wildcards), DEGRADATIONS[wildcards.degradation]
        )
    elif is_prior(wildcards):
        entry = PRIORS[wildcards.method]
    else:
        entry = RESTORERS[chain_of(wildcards).restorer]
    entry = with_local_weights(entry)
    return json.dumps({part: entry[part] for part in ("kind", *parts) if part in entry})


# Asked for by every job, with few answers.
digest_of = functools.cache(code_digest)


def code(script, *kinds):
    """A digest of a script and of the modules of (registry, kind) pairs: a job runs again when it changes."""
    modules = [module_file(registry.module_of(table, kind)) for table, kind in kinds]
    return digest_of(script, *modules)


def with_local_weights(entry):
    """An entry whose options name the catalogue's weights by where they lie."""
    if "options" not in entry:
        return entry
    options = weights.localised(entry["options"], Path(CONFIG["data"]["folder"]))
    return entry | {"options": options}


def weight_files(table, entry):
    """The weight files that an entry names: the user's own, and what says where the catalogue's lie."""
    names = [
        reference.removeprefix(weights.PREFIX)
        for reference in weights.references(entry.get("options", {}))
    ]
    fetched = [f"results/weights/{name}.json" for name in names]
    return settings.own_weights(table, entry) + fetched


def learned(table, kind):
    return getattr(registry.find(table, kind), "learned", False)


def gpu_if(wanted, count=1):
    """GPUs of a job that trains or applies a network; none where the configuration says `device: cpu`."""
    return count if wanted and CONFIG["device"] != "cpu" else 0


def device_if(wanted):
    return CONFIG["device"] if wanted else "cpu"


# A training runs as this many processes on one node, one a GPU; they share its batch (nopairs/training/parallel.py).
PROCESSES = CONFIG["processes"]
TORCHRUN = f"-m torch.distributed.run --standalone --nproc-per-node {PROCESSES}"
# Slurm ends a job by SIGTERM to all its processes. A training then saves its state; its shell and `tee` have to outlive that.
TRAINER = f"trap '' TERM; {INTERPRETER} {TORCHRUN if PROCESSES > 1 else ''} {SCRIPTS}"


def with_trainer(wildcards, input):
    """What runs a training; not recorded, as `with_python`."""
    return TRAINER


# Groups: jobs that a cluster runs as one, so that no short step waits in the queue by itself. Each is a chain, and so asks
# for no more than its largest job. Local runs ignore them.
def pairs_group(degradation):
    """What leads to a degradation's pairs, and to its noise; short where nothing is learned or chosen."""
    long = is_learned(degradation) or has_candidates(degradation)
    return f"pairs_{degradation}" if long else "simple_pairs"


def method_group(wildcards):
    """Fitting, restoring and measuring a method; short for a classical one.

    What several methods or datasets share (a training whose weights others borrow, an autoencoder) comes before it, not within it.
    """
    chain = chain_of(wildcards)
    if chain.transport:
        return "moved"
    if chain.autoencoder or source_of(wildcards) != wildcards.dataset:
        return "applied"
    if is_prior(wildcards):
        return "prior"
    if borrows(wildcards):
        return "borrowed"
    if teachers := chain.teachers(RESTORERS):
        # Of a network in "restorer", or of a student, with `teach` between them.
        return f"student{len(teachers)}"
    return "restorer" if is_network(wildcards) else "classical"


def source_of(wildcards):
    """The dataset whose models restore a dataset's test images."""
    return settings.trained_on(CONFIG, wildcards.dataset)


def fitted(file):
    """A file of the fitted method that restores a dataset's test images."""
    return (
        lambda wildcards: f"results/models/{source_of(wildcards)}/{wildcards.method}/seed{wildcards.seed}/{file}"
    )


def is_learned(degradation):
    return learned(registry.DEGRADATIONS, DEGRADATIONS[degradation]["kind"])


def with_networks(wildcards):
    """Whether making a degradation's pairs needs networks: to sample from, or to judge strengths by."""
    return is_learned(wildcards.degradation) or has_candidates(wildcards.degradation)


def has_candidates(degradation):
    return bool(DEGRADATIONS[degradation].get("sampling", {}).get("candidates"))


def is_prior(wildcards):
    return chain_of(wildcards).prior is not None


def is_trained(wildcards):
    return is_learner(wildcards) and not borrows(wildcards)


def is_learner(wildcards):
    return settings.learns(RESTORERS[chain_of(wildcards).restorer])


def borrows(wildcards):
    """Whether a restorer applies the weights of another one's training."""
    chain = chain_of(wildcards)
    return chain.trained(RESTORERS) != chain.base


def is_network(wildcards):
    if chain_of(wildcards).transport or chain_of(wildcards).autoencoder:
        return True
    pretrained = RESTORERS[chain_of(wildcards).restorer]["kind"] == "pretrained"
    return pretrained or is_learner(wildcards)


def is_quick(wildcards):
    """Whether a restorer is a network only, without classical ones beside it, which take as long as alone."""
    kind = RESTORERS[chain_of(wildcards).restorer]["kind"]
    made = registry.find(registry.RESTORERS, kind)
    return is_network(wildcards) and not getattr(made, "with_classical", False)


def stand_in(wildcards):
    """Pairs that take the place of `val` where something is to be chosen and the dataset has none."""
    name = CONFIG["selection"]["stand_in"]
    if "degradation" in wildcards.keys():
        entry = DEGRADATIONS[wildcards.degradation].get("sampling", {})
        chooses = bool(entry.get("candidates"))
    else:
        entry = RESTORERS[chain_of(wildcards).restorer]
        kind = registry.find(registry.RESTORERS, entry["kind"])
        chooses = bool(entry.get("candidates")) or hasattr(kind, "choose")
    itself = wildcards.get("degradation") == name
    if itself or not chooses or settings.has_role(CONFIG, wildcards.dataset, "val"):
        return []
    return f"results/pairs/{wildcards.dataset}/{name}/seed{wildcards.seed}/degraded.npy"


def stand_in_argument(wildcards, input):
    return f"--stand-in {Path(input.stand_in).parent}" if input.stand_in else ""


def niqe_model(wildcards):
    """NIQE's model, fitted on the clean images of the dataset that was trained on; none where there are none."""
    source = source_of(wildcards)
    has_clean = settings.has_role(CONFIG, source, "clean")
    return f"results/metrics/{source}/niqe.json" if has_clean else []


def named(paths):
    return [f"{name}={path}" for name, path in paths.items()]
