# Synthetic pairs: their strength chosen on `val`, then sampled once.
include: "../functions/synthesis.smk"


rule sample_pairs:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
        stand_in=stand_in,
        weights=judges_weights,
    output:
        multiext(
            "results/pairs/{dataset}/{degradation}/seed{seed}/",
            "strength.json",
            "clean.npy",
            "degraded.npy",
        ),
    log:
        "results/logs/sample_pairs/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/sample_pairs/{dataset}/{degradation}/seed{seed}.tsv"
    priority: 2
    group:
        lambda wildcards: pairs_group(wildcards.degradation)
    conda:
        "../../envs/nopairs.yaml"
    threads: lambda wildcards: CONFIG["threads"] if with_networks(wildcards) else 1
    resources:
        mem_mb=more(16000, 8000, with_networks),
        runtime=more(180, 60, with_networks),
        gpu=lambda wildcards: gpu_if(with_networks(wildcards)),
    params:
        python=with_python,
        device=lambda wildcards: device_if(with_networks(wildcards)),
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        model=model_argument,
        selection=selection_argument,
        stand_in=stand_in_with_part,
        code=sampling_code("sample_pairs.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/sample_pairs.py --entry {params.entry:q} {params.selection} {params.model} {params.stand_in}"
        " --dataset results/data/{wildcards.dataset} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {params.folder} 2>&1 | tee {log}"
