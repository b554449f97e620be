# What the rules of measures and tables ask for: inputs, arguments, entries.
SELECTED_ON_TEST = "what was chosen (checkpoints, strengths) was chosen on these very images, as the paper does"


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


def told_of_transports(wildcards):
    """What is to be said of a table's moved methods: method -> JSON."""
    table = CONFIG["tables"][wildcards.table]
    return {
        method: f"results/transport/{table['datasets'][0]}/{method}/seed{SEEDS[0]}.json"
        for method in table["methods"]
        if method in MOVED or CHAINS[method].autoencoder
    }


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
            *published_values(wildcards),
            "--reference",
            table["reference"],
        ]
    return words


def published_values(wildcards):
    """The values that stand beside a table's, where it names a reference."""
    named = "reference" in CONFIG["tables"][wildcards.table]
    return [str(PUBLISHED)] if named else []


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
