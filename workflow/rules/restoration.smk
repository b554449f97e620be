# Restorers: fitted, then applied to the test images.


# A restorer that learns is trained on the pairs of its degradation; a classical one has its strength chosen on `val`.
rule fit_restorer:
    input:
        index="results/data/{dataset}/index.csv",
        pairs=training_pairs,
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
    conda:
        "../../envs/nopairs.yaml"
    threads: lambda wildcards: CONFIG["threads"] if chain_of(wildcards).degradation else 1
    resources:
        mem_mb=more(16000),
        runtime=lambda wildcards, attempt: (
            1440 if chain_of(wildcards).degradation else 60
        )
        * attempt,
        gpu=lambda wildcards: gpu_if(chain_of(wildcards).degradation),
    params:
        python=PYTHON,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "options", "training", "candidates"),
        pairs=fit_arguments,
        code=restorer_code("fit_restorer.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/fit_restorer.py --entry {params.entry:q} {params.pairs} --dataset results/data/{wildcards.dataset}"
        " --seed {wildcards.seed} --threads {threads} --device {params.device} --out {params.folder} 2>&1 | tee {log}"


rule restore:
    input:
        index="results/data/{dataset}/index.csv",
        model="results/models/{dataset}/{method}/seed{seed}/model.json",
        weights="results/models/{dataset}/{method}/seed{seed}/model.safetensors",
    output:
        directory("results/restored/{dataset}/{method}/seed{seed}"),
    log:
        "results/logs/restore/{dataset}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/restore/{dataset}/{method}/seed{seed}.tsv"
    conda:
        "../../envs/nopairs.yaml"
    # Classical restorers have one thread only.
    threads: lambda wildcards: CONFIG["threads"] if chain_of(wildcards).degradation else 1
    resources:
        mem_mb=more(8000),
        runtime=more(120),
        gpu=lambda wildcards: gpu_if(chain_of(wildcards).degradation),
    params:
        python=PYTHON,
        device=CONFIG["device"],
        code=restorer_code("restore.py"),
        model=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "{params.python}/restore.py --model {params.model} --images results/data/{wildcards.dataset}/test/degraded"
        " --threads {threads} --device {params.device} --out {output} 2>&1 | tee {log}"
