# Measures of every restored test set, of the noise, and the tables made from them.
include: "../functions/evaluation.smk"


rule fit_niqe:
    input:
        "results/data/{dataset}/index.csv",
    output:
        "results/metrics/{dataset}/niqe.json",
    log:
        "results/logs/fit_niqe/{dataset}.log",
    benchmark:
        "results/benchmarks/fit_niqe/{dataset}.tsv"
    group:
        "data"
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(4000),
        runtime=more(30),
    params:
        python=with_python,
        code=code("fit_niqe.py"),
    shell:
        "{params.python}/fit_niqe.py --dataset-dir results/data/{wildcards.dataset} --out {output} 2>&1 | tee {log}"


rule measure:
    input:
        index="results/data/{dataset}/index.csv",
        niqe=niqe_model,
        restored="results/restored/{dataset}/{method}/seed{seed}",
    output:
        images="results/metrics/{dataset}/{method}/seed{seed}/images.csv",
        set="results/metrics/{dataset}/{method}/seed{seed}/set.csv",
        draws="results/metrics/{dataset}/{method}/seed{seed}/draws.csv",
    log:
        "results/logs/measure/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure/{dataset}/{method}/seed{seed}.tsv"
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(4000),
        runtime=more(30),
    params:
        python=with_python,
        arguments=measure_arguments,
        code=code("measure.py"),
    shell:
        "{params.python}/measure.py --restored {input.restored} --dataset-dir results/data/{wildcards.dataset} {params.arguments:q}"
        " --out-images {output.images} --out-set {output.set} --out-draws {output.draws} 2>&1 | tee {log}"


# What a benchmark scores that keeps the truth of its images.
rule submit:
    input:
        "results/restored/{dataset}/{method}/seed{seed}",
    output:
        multiext(
            "results/submissions/{dataset}/{method}/seed{seed}/SubmitSrgb",
            ".mat",
            ".csv",
        ),
    log:
        "results/logs/submit/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/submit/{dataset}/{method}/seed{seed}.tsv"
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(4000),
        runtime=more(30),
    params:
        python=with_python,
        timing="results/benchmarks/restore/{dataset}/{method}/seed{seed}.tsv",
        code=code("submit.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/submit.py --restored {input} --method {wildcards.method} --timing {params.timing} --out {params.folder}"
        " 2>&1 | tee {log}"


rule measure_real_noise:
    input:
        "results/data/{dataset}/index.csv",
    output:
        multiext(
            "results/noise/{dataset}/real/seed{seed}/",
            "noise.json",
            "clean.png",
            "degraded.png",
        ),
    log:
        "results/logs/measure_real_noise/{dataset}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_real_noise/{dataset}/seed{seed}.tsv"
    group:
        "data"
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(4000),
        runtime=more(30),
    params:
        python=with_python,
        code=code("measure_noise.py"),
        test="results/data/{dataset}/test",
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/measure_noise.py --clean {params.test}/clean --degraded {params.test}/degraded"
        " --out {params.folder} 2>&1 | tee {log}"


# The noise of a degradation on the test photos, beside the real one: measured only, nothing is chosen by it.
rule measure_noise:
    input:
        index="results/data/{dataset}/index.csv",
        source=lambda wildcards: f"results/data/{source_of(wildcards)}/index.csv",
        model=trained_model,
        strength=lambda wildcards: f"results/pairs/{source_of(wildcards)}/{wildcards.degradation}/seed{wildcards.seed}/strength.json",
    output:
        multiext(
            "results/noise/{dataset}/{degradation}/seed{seed}/",
            "noise.json",
            "clean.png",
            "degraded.png",
        ),
    log:
        "results/logs/measure_noise/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_noise/{dataset}/{degradation}/seed{seed}.tsv"
    group:
        lambda wildcards: pairs_group(wildcards.degradation)
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        python=with_python,
        source=source_of,
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        model=model_argument,
        code=sampling_code("measure_noise.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/measure_noise.py --entry {params.entry:q} {params.model} --strength {input.strength}"
        " --dataset results/data/{params.source}"
        " --clean results/data/{wildcards.dataset}/test/clean --seed {wildcards.seed} --threads {threads}"
        " --out {params.folder} 2>&1 | tee {log}"


# How far made tiles are from the degraded half, which needs no truth: degradations can be compared by it before anything is restored.
rule measure_distance:
    input:
        "results/data/{dataset}/index.csv",
        "results/pairs/{dataset}/{degradation}/seed{seed}/degraded.npy",
    output:
        "results/distances/{dataset}/{degradation}/seed{seed}/distance.json",
    log:
        "results/logs/measure_distance/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_distance/{dataset}/{degradation}/seed{seed}.tsv"
    group:
        lambda wildcards: pairs_group(wildcards.degradation)
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        python=with_python,
        code=code("measure_distance.py"),
    shell:
        "{params.python}/measure_distance.py --dataset results/data/{wildcards.dataset}"
        " --pairs results/pairs/{wildcards.dataset}/{wildcards.degradation}/seed{wildcards.seed}"
        " --seed {wildcards.seed} --out {output} 2>&1 | tee {log}"


rule tabulate:
    input:
        table_metrics,
        lambda wildcards: told_of_transports(wildcards).values(),
        lambda wildcards: counted_models(wildcards).values(),
        published_values,
    output:
        multiext("results/tables/{table}", ".csv", ".md", ".tex", ".html"),
    log:
        "results/logs/tabulate/{table}.log",
    benchmark:
        "results/benchmarks/tabulate/{table}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        arguments=table_arguments,
        code=code("make_table.py"),
    shell:
        "{params.python}/make_table.py --table {wildcards.table} {params.arguments:q} --out-dir results/tables 2>&1 | tee {log}"
