# Figures and the report, of the tables that `all` makes.

FIRST_SEED = SEEDS[0]
REPORTED = sorted({CONFIG["tables"][table]["dataset"] for table in TABLES_IN_ALL})


def reported_methods(dataset):
    tables = (CONFIG["tables"][name] for name in TABLES_IN_ALL)
    return list(dict.fromkeys(method for table in tables if table["dataset"] == dataset for method in table["methods"]))


def training_logs(dataset):
    """Every training log behind the reported methods, by the name of what was trained."""
    logs = {}
    for method in reported_methods(dataset):
        parts = settings.parse_method(CONFIG, method)
        if parts.degradation is None:
            continue
        entry = DEGRADATIONS[parts.degradation]
        trained = [entry["model"]] if learned(registry.DEGRADATIONS, entry["kind"]) else []
        for name in (*trained, method):
            logs |= {f"{name}/seed{seed}": f"results/models/{dataset}/{name}/seed{seed}/log.csv" for seed in SEEDS}
    return logs


def noise_folders(dataset):
    """The real noise and each reported model's, where the dataset has pairs to measure the real one."""
    if not settings.has_role(CONFIG, dataset, "test"):
        return {}
    used = (settings.parse_method(CONFIG, method).degradation for method in reported_methods(dataset))
    models = [name for name in dict.fromkeys(used) if name and DEGRADATIONS[name]["kind"] != "real_pairs"]
    return {
        name: f"results/noise/{dataset}/{name}/seed{FIRST_SEED}"
        for name in ("real", *models)
        if name == "real" or settings.samples_from_clean(DEGRADATIONS[name])
    }


def restored_folders(dataset):
    return {method: f"results/restored/{dataset}/{method}/seed{FIRST_SEED}" for method in reported_methods(dataset)}


def named(paths):
    return [f"{name}={path}" for name, path in paths.items()]


rule plot_losses:
    input:
        lambda wildcards: training_logs(wildcards.dataset).values(),
    output:
        multiext("results/figures/{dataset}/losses", ".png", ".pdf"),
    params:
        logs=lambda wildcards: named(training_logs(wildcards.dataset)),
        code=code("plot_losses.py"),
    log:
        "results/logs/plot_losses/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_losses/{dataset}.tsv"
    localrule: True
    shell:
        "{PYTHON}/plot_losses.py --log {params.logs:q} --out {output[0]} 2>&1 | tee {log}"


rule plot_noise:
    input:
        lambda wildcards: [f"{folder}/noise.json" for folder in noise_folders(wildcards.dataset).values()],
    output:
        patches=multiext("results/figures/{dataset}/noise_patches", ".png", ".pdf"),
        statistics=multiext("results/figures/{dataset}/noise_statistics", ".png", ".pdf"),
    params:
        noise=lambda wildcards: named(noise_folders(wildcards.dataset)),
        code=code("plot_noise.py"),
    log:
        "results/logs/plot_noise/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_noise/{dataset}.tsv"
    localrule: True
    shell:
        "{PYTHON}/plot_noise.py --noise {params.noise:q} --patches {output.patches[0]}"
        " --statistics {output.statistics[0]} 2>&1 | tee {log}"


rule plot_comparison:
    input:
        index="results/data/{dataset}/index.csv",
        restored=lambda wildcards: restored_folders(wildcards.dataset).values(),
    output:
        directory("results/figures/{dataset}/comparison"),
    params:
        restored=lambda wildcards: named(restored_folders(wildcards.dataset)),
        code=code("plot_comparison.py"),
    log:
        "results/logs/plot_comparison/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_comparison/{dataset}.tsv"
    localrule: True
    shell:
        "{PYTHON}/plot_comparison.py --dataset-dir results/data/{wildcards.dataset} --restored {params.restored:q}"
        " --out {output} 2>&1 | tee {log}"


rule plot_table:
    input:
        "results/tables/{table}.csv",
    output:
        multiext("results/figures/tables/{table}", ".png", ".pdf"),
    params:
        code=code("plot_table.py"),
    log:
        "results/logs/plot_table/{table}.log",
    benchmark:
        "results/benchmarks/plot_table/{table}.tsv"
    localrule: True
    shell:
        "{PYTHON}/plot_table.py --table {input} --out {output[0]} 2>&1 | tee {log}"


def report_figures():
    figures = {f"table/{table}": f"results/figures/tables/{table}.png" for table in TABLES_IN_ALL}
    for dataset in REPORTED:
        figures[f"comparison/{dataset}"] = f"results/figures/{dataset}/comparison"
        figures[f"losses/{dataset}"] = f"results/figures/{dataset}/losses.png"
        if noise_folders(dataset):
            figures[f"noise_patches/{dataset}"] = f"results/figures/{dataset}/noise_patches.png"
            figures[f"noise_statistics/{dataset}"] = f"results/figures/{dataset}/noise_statistics.png"
    return figures


rule describe:
    output:
        "results/config.json",
    params:
        config=json.dumps(CONFIG, indent=2),
    localrule: True
    shell:
        "printf '%s' {params.config:q} > {output}.tmp && mv {output}.tmp {output}"


# Asks Snakemake itself, which takes seconds: once a configuration.
rule rulegraph:
    output:
        "results/rulegraph.dot",
    params:
        config=json.dumps(CONFIG),
        configfiles=[f"--configfile={file}" for file in workflow.overwrite_configfiles],
    log:
        "results/logs/rulegraph.log",
    localrule: True
    shell:
        "{sys.executable} -m snakemake --snakefile {workflow.main_snakefile} {params.configfiles:q} --nolock"
        " --forceall --rulegraph dot -- all > {output}.tmp 2> {log} && mv {output}.tmp {output}"


def report_arguments():
    words = ["--table", *(f"{table}=results/tables/{table}.csv" for table in TABLES_IN_ALL)]
    words += ["--figure", *named(report_figures())]
    words += ["--dataset-dir", *(f"{dataset}=results/data/{dataset}" for dataset in REPORTED)]
    words += ["--restored"]
    words += [f"{dataset}/{name}" for dataset in REPORTED for name in named(restored_folders(dataset))]
    return words


rule report:
    input:
        config="results/config.json",
        graph="results/rulegraph.dot",
        tables=[f"results/tables/{table}.csv" for table in TABLES_IN_ALL],
        figures=report_figures().values(),
        restored=[path for dataset in REPORTED for path in restored_folders(dataset).values()],
    output:
        "results/report.html",
    params:
        arguments=lambda wildcards, input: report_arguments(),
        code=code("report.py"),
    log:
        "results/logs/report.log",
    localrule: True
    shell:
        "{PYTHON}/report.py --config {input.config} --rulegraph {input.graph} {params.arguments:q}"
        " --benchmarks results/benchmarks --out {output} 2>&1 | tee {log}"
