# The resolved configuration, names and helper functions of the other files here.
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
BASES = sorted(
    {name for chain in RESTORING for name in (chain.base, chain.trained(RESTORERS))}
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
PREPARING = {name for shown in SHOWN for name in shown["datasets"]}
CORES_A_DATASET = max(
    1, (workflow.resource_settings.cores or CONFIG["threads"]) // (len(PREPARING) or 1)
)
# Figures show the first dataset of a table that is over several.
REPORTED = sorted({CONFIG["tables"][table]["datasets"][0] for table in TABLES_IN_ALL})
# What can be checked before any job starts; the jobs' own Snakemake processes need not do it again.
if workflow.exec_mode == ExecMode.DEFAULT:
    for folder in filter(os.path.isdir, (".", ".snakemake", "results")):
        insist(check_writable, folder)
    for dataset in PREPARING:
        insist(check_folders, DATASETS[dataset])
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


# The interpreter that runs Snakemake, unless environments are deployed (--sdm conda).
INTERPRETER = (
    "python" if workflow.deployment_settings.deployment_method else sys.executable
)
PYTHON = f"{INTERPRETER} {ROOT}/src"


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


# Published weights of the catalogue that methods name: entry -> references to its files.
WEIGHTS = {}
for entry in (*RESTORERS.values(), *AUTOENCODERS.values()):
    for reference in weights.references(entry.get("options", {})):
        WEIGHTS.setdefault(weights.find(reference)[0], []).append(reference)


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
            CONFIG, wildcards.dataset, DEGRADATIONS[wildcards.degradation]
        )
    elif is_prior(wildcards):
        entry = PRIORS[wildcards.method]
    else:
        entry = RESTORERS[chain_of(wildcards).restorer]
    if "options" in entry:
        options = weights.localised(entry["options"], Path(CONFIG["data"]["folder"]))
        entry = entry | {"options": options}
    return json.dumps({part: entry[part] for part in ("kind", *parts) if part in entry})


# Asked for by every job, with few answers.
digest_of = functools.cache(code_digest)


def code(script, *kinds):
    """A digest of a script and of the modules of (registry, kind) pairs: a job runs again when it changes."""
    modules = [module_file(registry.module_of(table, kind)) for table, kind in kinds]
    return digest_of(script, *modules)


def learned(table, kind):
    return getattr(registry.find(table, kind), "learned", False)


def more(amount, otherwise=None, condition=lambda wildcards: True):
    """A resource that grows with each attempt: `amount`, or `otherwise` for wildcards that do not fit `condition`."""
    return lambda wildcards, attempt: attempt * (
        amount if condition(wildcards) else otherwise
    )


def gpu_if(wanted, count=1):
    """GPUs of a job that trains or applies a network; none where the configuration says `device: cpu`."""
    return count if wanted and CONFIG["device"] != "cpu" else 0


def device_if(wanted):
    return CONFIG["device"] if wanted else "cpu"


# A training runs as this many processes on one node, one a GPU; they share its batch (nopairs/training/parallel.py).
PROCESSES = CONFIG["processes"]
TORCHRUN = f"-m torch.distributed.run --standalone --nproc-per-node {PROCESSES}"
# Slurm ends a job by SIGTERM to all its processes. A training then saves its state; its shell and `tee` have to outlive that.
TRAINER = f"trap '' TERM; {INTERPRETER} {TORCHRUN if PROCESSES > 1 else ''} {ROOT}/src"


# Groups: jobs that a cluster runs as one, so that no short step waits in the queue by itself. Each is a chain, and so asks
# for no more than its largest job. Local runs ignore them.
def pairs_group(degradation):
    """What leads to a degradation's pairs, and to its noise; short where nothing is learned or chosen."""
    long = is_learned(degradation) or has_candidates(degradation)
    return f"pairs_{degradation}" if long else "simple_pairs"


def method_group(wildcards):
    """Fitting, restoring and measuring a method; short for a classical one. What another dataset has trained comes after it."""
    chain = chain_of(wildcards)
    if chain.transport or chain.autoencoder:
        return "transport"
    if source_of(wildcards) != wildcards.dataset:
        return "applied"
    if is_prior(wildcards):
        return "prior"
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


# data.smk
def photos_entry(wildcards):
    """What of a dataset's entry its images depend on, as JSON."""
    entry = DATASETS[wildcards.dataset]
    later = ("operator", "assumed", "border", "trained_on")
    return json.dumps({key: entry[key] for key in entry if key not in later})


# A user's folders are looked at again in every run: their listing is a parameter, so a new photo makes a new dataset.
def listing(wildcards):
    return settings.folder_listing(DATASETS[wildcards.dataset])


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


def selection_argument(wildcards):
    """The short training that judges candidates, where there are any."""
    if not has_candidates(wildcards.degradation):
        return ""
    selection = CONFIG["selection"]
    training = {
        "steps": selection["steps"],
        "copies": selection["copies"],
        "entry": RESTORERS[selection["restorer"]],
    }
    return f"--selection {shlex.quote(json.dumps(training))}"


def model_argument(wildcards, input):
    return f"--model {Path(input.model).parent}" if input.model else ""


# restoration.smk
def training_pairs(wildcards):
    degradation = chain_of(wildcards).degradation
    if degradation is None or borrows(wildcards):
        return []
    return f"results/pairs/{wildcards.dataset}/{degradation}/seed{wildcards.seed}/degraded.npy"


def published_weights(wildcards):
    """Where the weights of the catalogue that a restorer names are said to lie."""
    options = RESTORERS[chain_of(wildcards).restorer].get("options", {})
    names = {weights.find(reference)[0] for reference in weights.references(options)}
    return [f"results/weights/{name}.json" for name in sorted(names)]


def restorer_code(script):
    return lambda wildcards: code(
        script, (registry.RESTORERS, RESTORERS[chain_of(wildcards).restorer]["kind"])
    )


def lender(wildcards):
    """The model whose weights a restorer applies, where they are not its own."""
    if not borrows(wildcards):
        return []
    name = chain_of(wildcards).trained(RESTORERS)
    return f"results/models/{wildcards.dataset}/{name}/seed{wildcards.seed}/model.json"


def fit_arguments(wildcards, input):
    if input.lender:
        return f"--weights-of {Path(input.lender).parent}"
    return f"--pairs {Path(input.pairs).parent}" if input.pairs else ""


# flow.smk
def evaluations_of(table):
    """How often a table's flows ask for the velocity, by method: of those that only their steps set apart."""
    chains = {name: CHAINS[name] for name in CONFIG["tables"][table]["methods"]}
    entries = {
        name: RESTORERS[chain.restorer]["options"]
        for name, chain in chains.items()
        if name == chain.base and chain.trained(RESTORERS) in FLOWS
    }
    defaults = registry.find(registry.RESTORERS, "resflow").Options()
    return {
        name: options.get("steps", defaults.steps)
        for name, options in entries.items()
        if {"solver", "auxiliary", "grid_power"}.isdisjoint(options)
    }


def flow_of_table(wildcards):
    table = CONFIG["tables"][wildcards.table]
    name = CHAINS[next(iter(evaluations_of(wildcards.table)))].trained(RESTORERS)
    return f"results/flows/{table['datasets'][0]}/{name}/seed{SEEDS[0]}"


# transport.smk
def autoencoder_of(wildcards):
    """The autoencoder in whose latents a job works."""
    if "autoencoder" in wildcards.keys():
        return wildcards.autoencoder
    return TRANSPORTS[chain_of(wildcards).transport]["autoencoder"]


def autoencoder_files(wildcards):
    """What an autoencoder needs: its trained model on the dataset that was trained on, or published weights."""
    name = autoencoder_of(wildcards)
    if learned(registry.AUTOENCODERS, AUTOENCODERS[name]["kind"]):
        source = settings.trained_on(CONFIG, wildcards.dataset)
        return f"results/models/{source}/{name}/seed{wildcards.seed}/model.json"
    options = AUTOENCODERS[name].get("options", {})
    entries = {weights.find(reference)[0] for reference in weights.references(options)}
    return [f"results/weights/{entry}.json" for entry in sorted(entries)]


def autoencoder_argument(wildcards):
    """A trained autoencoder's folder, or the entry of one that is not."""
    entry = AUTOENCODERS[autoencoder_of(wildcards)]
    if learned(registry.AUTOENCODERS, entry["kind"]):
        return str(Path(autoencoder_files(wildcards)).parent)
    options = weights.localised(
        entry.get("options", {}), Path(CONFIG["data"]["folder"])
    )
    return json.dumps({"kind": entry["kind"], "options": options})


def transport_entry(wildcards):
    entry = TRANSPORTS[chain_of(wildcards).transport]
    parts = ("kind", "options", "alphas", "autoencoder")
    return json.dumps({part: entry[part] for part in parts if part in entry})


def base_model(wildcards):
    """The fitted restorer whose images are moved."""
    return f"results/models/{wildcards.dataset}/{chain_of(wildcards).base}/seed{wildcards.seed}/model.json"


def base_restored(wildcards):
    return f"results/restored/{wildcards.dataset}/{chain_of(wildcards).base}/seed{wildcards.seed}"


def statistics_pairs(wildcards):
    """Pairs whose degraded images, restored, and whose clean ones give a transport's statistics."""
    degradation = settings.statistics_of(CONFIG, chain_of(wildcards))
    if degradation is None:
        return []
    return f"results/pairs/{content_of(wildcards)}/{degradation}/seed{wildcards.seed}/degraded.npy"


def content_of(wildcards):
    """The dataset whose images a transport's statistics come from."""
    transport = TRANSPORTS[chain_of(wildcards).transport]
    return transport.get("content", wildcards.dataset)


def natural_dataset(wildcards):
    """The index of the dataset whose clean images are the aim, where it is another one."""
    name = TRANSPORTS[chain_of(wildcards).transport].get("natural")
    return f"results/data/{name}/index.csv" if name else []


def statistics_arguments(wildcards, input):
    words = []
    if input.pairs:
        degradation = DEGRADATIONS[settings.statistics_of(CONFIG, chain_of(wildcards))]
        content = content_of(wildcards)
        words += ["--pairs", Path(input.pairs).parent]
        words += ["--content", f"results/data/{content}"]
        words += ["--part", settings.part_of(degradation)]
    words += ["--natural", Path(input.natural).parent] if input.natural else []
    return list(map(str, words))


def transport_code(script):
    """A digest that also holds the kinds of transport, autoencoder and restorer."""

    def digest(wildcards):
        kind = AUTOENCODERS[autoencoder_of(wildcards)]["kind"]
        kinds = [(registry.AUTOENCODERS, kind)]
        chain = chain_of(wildcards) if "autoencoder" not in wildcards.keys() else None
        if chain:
            kinds += [
                (registry.TRANSPORTS, TRANSPORTS[chain.transport]["kind"]),
                (registry.RESTORERS, RESTORERS[chain.restorer]["kind"]),
            ]
        return code(script, *kinds)

    return digest


def told_of_transports(wildcards):
    """What is to be said of a table's moved methods: method -> JSON."""
    table = CONFIG["tables"][wildcards.table]
    return {
        method: f"results/transport/{table['datasets'][0]}/{method}/seed{SEEDS[0]}.json"
        for method in table["methods"]
        if method in MOVED or CHAINS[method].autoencoder
    }


def bias_entry(wildcards):
    """What a problem's maps depend on: not which other problems there are."""
    options = {
        key: value
        for key, value in CONFIG["bias"]["options"].items()
        if key not in ("dimensions", "patch_size", "seeds")
    }
    return json.dumps({"options": options, "training": CONFIG["bias"]["training"]})


def bias_runs(wildcards):
    options = make_options(BiasOptions, "bias", CONFIG["bias"]["options"])
    return expand(
        "results/bias/{problem}/seed{seed}.csv",
        problem=options.problems(),
        seed=options.seeds,
    )


# priors.smk
def is_learned_prior(wildcards):
    return learned(registry.PRIORS, PRIORS[wildcards.method]["kind"])


def prior_code(script):
    return lambda wildcards: code(
        script, (registry.PRIORS, PRIORS[wildcards.method]["kind"])
    )


def operator_of(wildcards):
    """The operator that observes a dataset's test images."""
    return json.dumps(DATASETS[wildcards.dataset]["operator"])


def estimated_operator(wildcards):
    """The file of an operator that is estimated from pairs; none where it is known."""
    settings = DATASETS[wildcards.dataset].get("operator", {})
    if settings.get("kind") != ESTIMATED:
        return []
    return f"results/operators/{wildcards.dataset}/seed{wildcards.seed}.json"


def told_operator(wildcards):
    """The operator as priors are told of it: its settings, or the file that has them."""
    dataset = DATASETS[wildcards.dataset]
    return estimated_operator(wildcards) or json.dumps(
        dataset.get("assumed", dataset["operator"])
    )


def pairs_of_operator(wildcards):
    """The pairs that tell of an operator."""
    degradation = DATASETS[wildcards.dataset]["operator"]["degradation"]
    return f"results/pairs/{source_of(wildcards)}/{degradation}/seed{wildcards.seed}/degraded.npy"


def observations_to_learn(wildcards):
    """The observations, for a prior that learns from them."""
    kind = registry.find(registry.PRIORS, PRIORS[wildcards.method]["kind"])
    return f"results/observations/{wildcards.dataset}" if kind.from_observations else []


def fit_prior_arguments(wildcards, input):
    """The operator, for a prior that cannot learn without, and the observations."""
    kind = registry.find(registry.PRIORS, PRIORS[wildcards.method]["kind"])
    words = ["--operator", told_operator(wildcards)] if kind.needs_operator else []
    return words + (
        ["--observations", input.observations] if input.observations else []
    )


def border_of(wildcards):
    return DATASETS[wildcards.dataset].get("border", 0)


# evaluation.smk
SELECTED_ON_TEST = "what was chosen (checkpoints, strengths) was chosen on these very images, as the paper does"


def niqe_model(wildcards):
    """NIQE's model, fitted on the clean images of the dataset that was trained on; none where there are none."""
    source = source_of(wildcards)
    has_clean = settings.has_role(CONFIG, source, "clean")
    return f"results/metrics/{source}/niqe.json" if has_clean else []


def measure_arguments(wildcards, input):
    """What is measured, and why what needs a truth is not where a benchmark keeps it."""
    asked = {
        metric
        for shown in CONFIG["tables"].values()
        if wildcards.method in shown["methods"]
        and wildcards.dataset in shown["datasets"]
        for metric in shown["metrics"]
    }
    wanted = [metric for metric in METRICS if metric in {*USUAL, *asked}]
    if not input.niqe:
        wanted.remove("niqe")
    words = ["--niqe-model", input.niqe] if input.niqe else []
    words += ["--metrics", *wanted]
    if border := border_of(wildcards):
        words += ["--border", border]
    reason = DATASETS[wildcards.dataset].get("withheld")
    return [*words, "--withheld", reason] if reason else words


def submissions():
    """The files that benchmarks score, of the methods in the tables of `all`."""
    tables = (CONFIG["tables"][name] for name in TABLES_IN_ALL)
    return [
        f"results/submissions/{dataset}/{method}/seed{seed}/SubmitSrgb.csv"
        for table in tables
        for dataset in table["datasets"]
        if DATASETS[dataset].get("submission")
        for method in table["methods"]
        for seed in SEEDS
    ]


def table_metrics(wildcards):
    table = CONFIG["tables"][wildcards.table]
    return expand(
        "results/metrics/{dataset}/{method}/seed{seed}/{file}.csv",
        dataset=table["datasets"],
        method=table["methods"],
        seed=SEEDS,
        file=["images", "set", "draws"],
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
        *(f"results/metrics/{dataset}" for dataset in table["datasets"]),
        "--seeds",
        *map(str, SEEDS),
    ]
    words += ["--rivals", *table["rivals"]] if table["rivals"] else []
    on_test = any(
        DATASETS[one].get("selection") == "paper" for one in table["datasets"]
    )
    borders = {DATASETS[one].get("border", 0) for one in table["datasets"]} - {0}
    remarks = [SELECTED_ON_TEST] if on_test else []
    remarks += [f"within a border of {border} pixels" for border in sorted(borders)]
    words += ["--remark", "; ".join(remarks)] if remarks else []
    if told := told_of_transports(wildcards):
        words += ["--told", *named(told)]
    if models := counted_models(wildcards):
        words += ["--parameters", *named(models)]
    if "reference" in table:
        words += [
            "--published",
            f"{ROOT}/workflow/references/published.csv",
            "--reference",
            table["reference"],
        ]
    return words


def counted_models(wildcards):
    """What tells the parameters of a table's methods, where it asks for them: method -> model.json."""
    table = CONFIG["tables"][wildcards.table]
    if PARAMETERS not in table["metrics"]:
        return {}
    source = settings.trained_on(CONFIG, table["datasets"][0])
    names = {method: trained_by(method) for method in table["methods"]}
    simple = {
        method
        for method in table["methods"]
        if CHAINS[method].degradation and not is_learned(CHAINS[method].degradation)
    }
    return {
        method: f"results/models/{source}/{trained[0]}/seed{SEEDS[0]}/model.json"
        for method, trained in names.items()
        if trained and method not in simple
    }


def curve_runs(wildcards):
    """Measures of every run of a curve: <number of photos>/<method> -> images.csv of each dataset and seed."""
    curve = CONFIG["curves"][wildcards.curve]
    return [
        (
            f"{DATASETS[dataset]['train_photos']}/{method}",
            f"results/metrics/{dataset}/{method}/seed{seed}/images.csv",
        )
        for dataset in curve["datasets"]
        for method in curve["methods"]
        for seed in SEEDS
    ]


# report.smk
def reported_methods(dataset):
    tables = (CONFIG["tables"][name] for name in TABLES_IN_ALL)
    return list(
        dict.fromkeys(
            method
            for table in tables
            if table["datasets"][0] == dataset
            for method in table["methods"]
        )
    )


def trained_by(method):
    """Names of what the training loop trains for a method."""
    parts = settings.parse_method(CONFIG, method)
    if parts.prior:
        return [method] if learned(registry.PRIORS, PRIORS[method]["kind"]) else []
    trained = []
    if parts.degradation is not None:
        entry = DEGRADATIONS[parts.degradation]
        if learned(registry.DEGRADATIONS, entry["kind"]):
            trained.append(entry["model"])
    if not parts.autoencoder and settings.learns(RESTORERS[parts.restorer]):
        trained.append(parts.trained(RESTORERS))
    if parts.autoencoder or parts.transport:
        name = parts.autoencoder or TRANSPORTS[parts.transport]["autoencoder"]
        if learned(registry.AUTOENCODERS, AUTOENCODERS[name]["kind"]):
            trained.append(name)
    return trained


def training_logs(dataset):
    """Every training log behind the reported methods, by the name of what was trained."""
    logs = {}
    source = settings.trained_on(CONFIG, dataset)
    for method in reported_methods(dataset):
        for name in trained_by(method):
            logs |= {
                f"{name}/seed{seed}": f"results/models/{source}/{name}/seed{seed}/log.csv"
                for seed in SEEDS
            }
    return logs


def noise_folders(dataset):
    """The real noise and each reported model's, where the dataset has pairs to measure the real one."""
    scaled = (
        DATASETS[dataset]["scale"] > 1
    )  # noise is the difference of images of one size
    if not settings.has_role(CONFIG, dataset, "test") or dataset in OBSERVED or scaled:
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


def moved_folders(dataset, tables=None):
    """Transports of a dataset's methods in some tables, each with its curve over alpha; they need the truth.

    By default in those of `all`, or for a dataset that none of these is on in every table.
    """
    if not settings.has_role(CONFIG, dataset, "test"):
        return {}
    if tables is None:
        tables = TABLES_IN_ALL if dataset in REPORTED else CONFIG["tables"]
    return {
        CHAINS[
            method
        ].fitted: f"results/transport/{dataset}/{CHAINS[method].fitted}/seed{SEEDS[0]}"
        for table in tables
        if CONFIG["tables"][table]["datasets"][0] == dataset
        for method in CONFIG["tables"][table]["methods"]
        if method in MOVED
    }


def moved_files(folders):
    return [
        f"{folder}/{name}"
        for folder in folders.values()
        for name in ("curve.csv", "crops")
    ]


def own_models():
    """The restorers that learned from a user's own photos without pairs, for whoever wants more of them restored."""
    own = [name for name in REPORTED if DATASETS[name]["source"] == "folder"]
    return [
        f"results/models/{dataset}/{method}/seed{SEEDS[0]}"
        for dataset in own
        for method in reported_methods(dataset)
        if method.startswith("ludvae+") and method not in MOVED
    ]


def report_figures():
    figures = {
        f"table/{table}": f"results/figures/tables/{table}.png"
        for table in TABLES_IN_ALL
    }
    for dataset in REPORTED:
        figures[f"comparison/{dataset}"] = f"results/figures/{dataset}/comparison"
        if training_logs(dataset):
            figures[f"losses/{dataset}"] = f"results/figures/{dataset}/losses.png"
        if moved_folders(dataset, TABLES_IN_ALL):
            figures[f"perception_distortion/{dataset}"] = (
                f"results/figures/{dataset}/perception_distortion.png"
            )
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
    moved = [
        word
        for dataset in REPORTED
        for word in named(moved_folders(dataset, TABLES_IN_ALL))
    ]
    return [*words, "--transport", *moved] if moved else words
