# Degradation models that are learned from the unpaired images.


rule train_degradation:
    input:
        "results/data/{dataset}/index.csv",
        weights=lambda wildcards: weight_files(
            registry.DEGRADATIONS, DEGRADATIONS[wildcards.degradation]
        ),
    output:
        multiext(
            "results/models/{dataset}/{degradation}/seed{seed}/",
            "model.safetensors",
            "model.json",
            "log.csv",
        ),
    log:
        "results/logs/train_degradation/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train_degradation/{dataset}/{degradation}/seed{seed}.tsv"
    # Longest first: what waits for this is the end of the run.
    priority: 3
    group:
        lambda wildcards: pairs_group(wildcards.degradation)
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"] * PROCESSES
    resources:
        mem_mb=more(16000 * PROCESSES),
        runtime=more(960),
        gpu=gpu_if(True, PROCESSES),
        nodes=1,
    params:
        launch=with_trainer,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "options", "training"),
        code=lambda wildcards: code(
            "train_degradation.py",
            (registry.DEGRADATIONS, DEGRADATIONS[wildcards.degradation]["kind"]),
        ),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.launch}/train_degradation.py --entry {params.entry:q} --dataset results/data/{wildcards.dataset}"
        " --seed {wildcards.seed} --threads {threads} --device {params.device} --out {params.folder} 2>&1 | tee {log}"
