# Synthetic pairs: their strength chosen on `val`, then sampled once.


rule choose_strength:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
        stand_in=stand_in,
    output:
        chosen="results/pairs/{dataset}/{degradation}/seed{seed}/strength.json",
    log:
        "results/logs/choose_strength/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/choose_strength/{dataset}/{degradation}/seed{seed}.tsv"
    group:
        lambda wildcards: pairs_group(wildcards.degradation)
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000),
        runtime=more(120),
        gpu=lambda wildcards: gpu_if(has_candidates(wildcards.degradation)),
    params:
        python=PYTHON,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        restorer=json.dumps(
            {
                "steps": CONFIG["selection"]["steps"],
                "copies": CONFIG["selection"]["copies"],
            }
            | {"entry": RESTORERS[CONFIG["selection"]["restorer"]]}
        ),
        model=model_argument,
        stand_in=stand_in_argument,
        code=sampling_code("choose_strength.py"),
    shell:
        "{params.python}/choose_strength.py --entry {params.entry:q} --selection {params.restorer:q} {params.model}"
        " {params.stand_in}"
        " --dataset results/data/{wildcards.dataset} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {output.chosen} 2>&1 | tee {log}"


rule sample_pairs:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
        strength="results/pairs/{dataset}/{degradation}/seed{seed}/strength.json",
    output:
        multiext(
            "results/pairs/{dataset}/{degradation}/seed{seed}/",
            "clean.npy",
            "degraded.npy",
        ),
    log:
        "results/logs/sample_pairs/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/sample_pairs/{dataset}/{degradation}/seed{seed}.tsv"
    group:
        lambda wildcards: pairs_group(wildcards.degradation)
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000, 8000, by_network),
        runtime=more(60),
        gpu=lambda wildcards: gpu_if(by_network(wildcards)),
    params:
        python=PYTHON,
        device=lambda wildcards: device_if(by_network(wildcards)),
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        model=model_argument,
        code=sampling_code("sample_pairs.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/sample_pairs.py --entry {params.entry:q} {params.model} --strength {input.strength}"
        " --dataset results/data/{wildcards.dataset} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {params.folder} 2>&1 | tee {log}"
