# What the rules of figures and the report ask for: inputs, arguments, entries.
TEMPLATES = ROOT / "workflow/report"


def reported_methods(dataset):
    """Methods of a dataset in the tables of `all`; of one that none of these is on, in every table."""
    names = TABLES_IN_ALL if dataset in REPORTED else CONFIG["tables"]
    tables = (CONFIG["tables"][name] for name in names)
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


def table_figures(table):
    """The figures that a table brings: its chart, and where these are of its methods alone the images side by side."""
    dataset, methods = (CONFIG["tables"][table][key] for key in ("datasets", "methods"))
    charts = [f"results/figures/tables/{table}.png"]
    alone = set(reported_methods(dataset[0])) <= set(methods)
    return charts + [f"results/figures/{dataset[0]}/comparison"] * alone


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
