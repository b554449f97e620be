# Measures of every restored test set, of the noise, and the tables made from them.


rule fit_niqe:
    input:
        "results/data/{dataset}/index.csv",
    output:
        "results/metrics/{dataset}/niqe.json",
    params:
        code=code("fit_niqe.py"),
    log:
        "results/logs/fit_niqe/{dataset}.log",
    benchmark:
        "results/benchmarks/fit_niqe/{dataset}.tsv"
    resources:
        mem_mb=more(4000),
        runtime=more(60),
    shell:
        "{PYTHON}/fit_niqe.py --dataset-dir results/data/{wildcards.dataset} --out {output} 2>&1 | tee {log}"


rule measure:
    input:
        index="results/data/{dataset}/index.csv",
        niqe="results/metrics/{dataset}/niqe.json",
        restored="results/restored/{dataset}/{method}/seed{seed}",
    output:
        images="results/metrics/{dataset}/{method}/seed{seed}/images.csv",
        set="results/metrics/{dataset}/{method}/seed{seed}/set.csv",
    params:
        code=code("measure.py"),
    log:
        "results/logs/measure/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure/{dataset}/{method}/seed{seed}.tsv"
    resources:
        mem_mb=more(8000),
        runtime=more(120),
    shell:
        "{PYTHON}/measure.py --restored {input.restored} --index {input.index}"
        " --dataset-dir results/data/{wildcards.dataset} --niqe-model {input.niqe}"
        " --out-images {output.images} --out-set {output.set} 2>&1 | tee {log}"


# The noise of a degradation on the test photos, beside the real one: measured only, nothing is chosen by it.
rule degrade:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
        strength="results/pairs/{dataset}/{degradation}/seed{seed}/strength.json",
    output:
        directory("results/degraded/{dataset}/{degradation}/seed{seed}"),
    params:
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        model=model_argument,
        code=sampling_code("degrade.py"),
    log:
        "results/logs/degrade/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/degrade/{dataset}/{degradation}/seed{seed}.tsv"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(60),
    shell:
        "{PYTHON}/degrade.py --entry {params.entry:q} {params.model} --strength {input.strength}"
        " --images results/data/{wildcards.dataset}/test/clean --seed {wildcards.seed} --threads {threads}"
        " --out {output} 2>&1 | tee {log}"


def degraded_folder(wildcards):
    if wildcards.source == "real":
        return f"results/data/{wildcards.dataset}/index.csv"
    return f"results/degraded/{wildcards.dataset}/{wildcards.source}/seed{wildcards.seed}"


rule measure_noise:
    input:
        index="results/data/{dataset}/index.csv",
        degraded=degraded_folder,
    output:
        multiext("results/noise/{dataset}/{source}/seed{seed}/", "noise.json", "clean.png", "degraded.png"),
    wildcard_constraints:
        source=any_of(["real", *DEGRADATIONS]),
    params:
        code=code("measure_noise.py"),
        degraded=lambda wildcards, input: (
            f"results/data/{wildcards.dataset}/test/degraded" if wildcards.source == "real" else input.degraded
        ),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    log:
        "results/logs/measure_noise/{dataset}/{source}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_noise/{dataset}/{source}/seed{seed}.tsv"
    resources:
        mem_mb=more(4000),
        runtime=more(60),
    shell:
        "{PYTHON}/measure_noise.py --clean results/data/{wildcards.dataset}/test/clean --degraded {params.degraded}"
        " --out {params.folder} 2>&1 | tee {log}"


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
    words = ["--dataset", table["dataset"], "--methods", *table["methods"], "--metrics", *table["metrics"]]
    words += ["--metrics-dir", f"results/metrics/{table['dataset']}", "--seeds", *map(str, SEEDS)]
    words += ["--rivals", *table["rivals"]] if table["rivals"] else []
    if "reference" in table:
        words += ["--published", f"{ROOT}/workflow/references/published.csv", "--reference", table["reference"]]
    return words


rule tabulate:
    input:
        table_metrics,
    output:
        multiext("results/tables/{table}", ".csv", ".md", ".tex", ".html"),
    params:
        arguments=table_arguments,
        code=code("make_table.py"),
    log:
        "results/logs/tabulate/{table}.log",
    benchmark:
        "results/benchmarks/tabulate/{table}.tsv"
    localrule: True
    shell:
        "{PYTHON}/make_table.py --table {wildcards.table} {params.arguments:q} --out-dir results/tables 2>&1 | tee {log}"
