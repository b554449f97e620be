# Restorers: fitted, then applied to the test images.
include: "../functions/restoration.smk"


# A restorer that learns is trained on the pairs of its degradation, or on the dataset itself, or takes the weights of another one; a
# classical one has its strength chosen on `val`.
rule fit_restorer:
    input:
        index="results/data/{dataset}/index.csv",
        pairs=training_pairs,
        lender=lender,
        stand_in=stand_in,
        weights=named_weights,
    output:
        multiext(
            "results/models/{dataset}/{method}/seed{seed}/",
            "model.safetensors",
            "model.json",
            "log.csv",
        ),
    log:
        "results/logs/fit_restorer/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/fit_restorer/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(BASES),
    priority: 1
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    threads: lambda wildcards: CONFIG["threads"] * PROCESSES if is_trained(wildcards) else 1
    resources:
        mem_mb=more(16000 * PROCESSES, 4000, is_trained),
        runtime=more(960, 240, is_trained),
        gpu=lambda wildcards: gpu_if(is_trained(wildcards), PROCESSES),
        nodes=lambda wildcards: 1 if is_trained(wildcards) else None,
    params:
        launch=lambda wildcards, input: TRAINER if is_trained(wildcards) else PYTHON,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "options", "training", "candidates"),
        pairs=fit_arguments,
        stand_in=stand_in_argument,
        images=restored_elsewhere,
        code=restorer_code("fit_restorer.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.launch}/fit_restorer.py --entry {params.entry:q} {params.pairs} {params.stand_in} --dataset results/data/{wildcards.dataset}"
        " --seed {wildcards.seed} --threads {threads} --device {params.device} --out {params.folder} 2>&1 | tee {log}"


# A student's pairs: the degraded training photos, and its teacher's restored ones.
rule teach:
    input:
        index="results/data/{dataset}/index.csv",
        model="results/models/{dataset}/{method}/seed{seed}/model.json",
    output:
        multiext(
            "results/pairs/{dataset}/{method}/seed{seed}/", "clean.npy", "degraded.npy"
        ),
    log:
        "results/logs/teach/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/teach/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(TEACHERS),
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(240),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        code=restorer_code("teach.py"),
        model=lambda wildcards, input: str(Path(input.model).parent),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/teach.py --model {params.model} --dataset results/data/{wildcards.dataset} --seed {wildcards.seed}"
        " --threads {threads} --device {params.device} --out {params.folder} 2>&1 | tee {log}"


rule restore:
    input:
        index="results/data/{dataset}/index.csv",
        model=fitted("model.json"),
        weights=fitted("model.safetensors"),
    output:
        directory("results/restored/{dataset}/{method}/seed{seed}"),
    log:
        "results/logs/restore/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/restore/{dataset}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=any_of(BASES),
    group:
        method_group
    conda:
        "../../envs/nopairs.yaml"
    # Classical restorers have one thread only.
    threads: lambda wildcards: CONFIG["threads"] if is_network(wildcards) else 1
    resources:
        mem_mb=more(8000, 4000, is_network),
        runtime=more(30, 240, is_quick),
        gpu=lambda wildcards: gpu_if(is_network(wildcards)),
    params:
        python=with_python,
        device=lambda wildcards: device_if(is_network(wildcards)),
        images=restored_elsewhere,
        code=restorer_code("restore.py"),
        model=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "{params.python}/restore.py --model {params.model} --images results/data/{wildcards.dataset}/test/degraded"
        " --threads {threads} --device {params.device} --out {output} 2>&1 | tee {log}"
