# Priors: fitted on clean images, then used with a dataset's operator to reconstruct what it has observed of the test images.
include: "../functions/priors.smk"


rule observe:
    input:
        "results/data/{dataset}/index.csv",
    output:
        directory("results/observations/{dataset}"),
    log:
        "results/logs/observe/{dataset}.log",
    benchmark:
        "results/benchmarks/observe/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(OBSERVED),
    group:
        "data"
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(4000),
        runtime=more(30),
    params:
        python=with_python,
        operator=operator_of,
        seed=lambda wildcards: DATASETS[wildcards.dataset]["seed"],
        code=lambda wildcards: code("observe.py", *operators_of(wildcards)),
    shell:
        "{params.python}/observe.py --dataset results/data/{wildcards.dataset} --operator {params.operator:q} --seed {params.seed}"
        " --out {output} 2>&1 | tee {log}"


rule estimate_operator:
    input:
        pairs_of_operator,
    output:
        "results/operators/{dataset}/seed{seed}.json",
    log:
        "results/logs/estimate_operator/{dataset}/seed{seed}.log",
    benchmark:
        "results/benchmarks/estimate_operator/{dataset}/seed{seed}.tsv"
    wildcard_constraints:
        dataset=any_of(OBSERVED),
    conda:
        "../../envs/nopairs.yaml"
    resources:
        mem_mb=more(8000),
        runtime=more(30),
    params:
        python=with_python,
        size=lambda wildcards: DATASETS[wildcards.dataset]["operator"]["size"],
        folder=lambda wildcards, input: str(Path(input[0]).parent),
        code=code("estimate_operator.py"),
    shell:
        "{params.python}/estimate_operator.py --pairs {params.folder} --size {params.size} --out {output} 2>&1 | tee {log}"


# No `stand_in`, no pairs: a prior learns from clean images, or from nothing.
rule fit_prior:
    input:
        index="results/data/{dataset}/index.csv",
        observations=observations_to_learn,
        operator=estimated_operator,
    output:
        multiext(
            "results/models/{dataset}/{method}/seed{seed}/",
            "model.safetensors",
            "model.json",
            "log.csv",
        ),
    log:
        "results/logs/fit_prior/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/fit_prior/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(PRIORS),
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    threads:
        lambda wildcards: (
            CONFIG["threads"] * PROCESSES
            if is_learned_prior(wildcards)
            else CONFIG["threads"]
        )
    resources:
        mem_mb=more(16000 * PROCESSES, 16000, is_learned_prior),
        runtime=more(960, 120, is_learned_prior),
        gpu=lambda wildcards: gpu_if(is_learned_prior(wildcards), PROCESSES),
        nodes=lambda wildcards: 1 if is_learned_prior(wildcards) else None,
    params:
        launch=lambda wildcards, input: (
            TRAINER if is_learned_prior(wildcards) else PYTHON
        ),
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "options", "training"),
        more=fit_prior_arguments,
        code=prior_code("fit_prior.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.launch}/fit_prior.py --entry {params.entry:q} --dataset results/data/{wildcards.dataset} --seed {wildcards.seed}"
        " {params.more:q} --threads {threads} --device {params.device} --out {params.folder} 2>&1 | tee {log}"


# By a dataset too, not by the prior alone: its operator decides.
rule choose_strength:
    input:
        index=lambda wildcards: f"results/data/{source_of(wildcards)}/index.csv",
        model=fitted("model.json"),
        weights=fitted("model.safetensors"),
        operator=estimated_operator,
    output:
        "results/strengths/{dataset}/{method}/seed{seed}.json",
    log:
        "results/logs/choose_strength/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/choose_strength/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(PRIORS),
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000),
        runtime=more(240),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "reconstruction", "candidates"),
        operator=told_operator,
        border=border_of,
        folder=lambda wildcards, input: str(Path(input.index).parent),
        model=lambda wildcards, input: str(Path(input.model).parent),
        code=prior_code("choose_strength.py"),
    shell:
        "{params.python}/choose_strength.py --entry {params.entry:q} --model {params.model} --dataset {params.folder}"
        " --operator {params.operator:q} --border {params.border} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {output} 2>&1 | tee {log}"


rule reconstruct:
    input:
        observations="results/observations/{dataset}",
        model=fitted("model.json"),
        weights=fitted("model.safetensors"),
        operator=estimated_operator,
        strength="results/strengths/{dataset}/{method}/seed{seed}.json",
    output:
        directory("results/restored/{dataset}/{method}/seed{seed}"),
    log:
        "results/logs/reconstruct/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/reconstruct/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(PRIORS),
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000),
        runtime=more(1440),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "reconstruction"),
        operator=told_operator,
        model=lambda wildcards, input: str(Path(input.model).parent),
        code=prior_code("reconstruct.py"),
    shell:
        "{params.python}/reconstruct.py --entry {params.entry:q} --model {params.model} --strength {input.strength}"
        " --operator {params.operator:q} --observations {input.observations} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {output} 2>&1 | tee {log}"


# For a prior that samples from a posterior: snakemake results/uncertainty/sic/wppflow/seed0
rule uncertainty:
    input:
        index="results/data/{dataset}/index.csv",
        observations="results/observations/{dataset}",
        model=fitted("model.json"),
        weights=fitted("model.safetensors"),
        operator=estimated_operator,
    output:
        directory("results/uncertainty/{dataset}/{method}/seed{seed}"),
    log:
        "results/logs/uncertainty/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/uncertainty/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(PRIORS),
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000),
        runtime=more(120),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        operator=told_operator,
        border=border_of,
        folder=lambda wildcards, input: str(Path(input.index).parent),
        model=lambda wildcards, input: str(Path(input.model).parent),
        code=prior_code("plot_uncertainty.py"),
    shell:
        "{params.python}/plot_uncertainty.py --dataset {params.folder} --model {params.model} --operator {params.operator:q}"
        " --observations {input.observations} --border {params.border} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {output} 2>&1 | tee {log}"
