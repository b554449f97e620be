# Synthetic pairs: their strength chosen on `val`, then sampled once.


rule sample_pairs:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
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
    conda:
        "../../envs/nopairs.yaml"
    threads: pairs_threads
    resources:
        mem_mb=more(16000),
        runtime=more(240),
        gpu=gpu_if(True),
    params:
        python=PYTHON,
        device=CONFIG["device"],
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        selection=json.dumps(
            {
                "steps": CONFIG["selection"]["steps"],
                "copies": CONFIG["selection"]["copies"],
            }
            | {"entry": RESTORERS[CONFIG["selection"]["restorer"]]}
        ),
        model=model_argument,
        code=sampling_code("sample_pairs.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/sample_pairs.py --entry {params.entry:q} --selection {params.selection:q} {params.model}"
        " --dataset results/data/{wildcards.dataset} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {params.folder} 2>&1 | tee {log}"
