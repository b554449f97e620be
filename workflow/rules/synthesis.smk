# Synthetic pairs: their strength chosen on `val`, then sampled once.


def trained_model(wildcards):
    """The trained model that a degradation samples from; none for one that learns nothing."""
    entry = DEGRADATIONS[wildcards.degradation]
    if not learned(registry.DEGRADATIONS, entry["kind"]):
        return []
    return f"results/models/{wildcards.dataset}/{entry['model']}/seed{wildcards.seed}/model.json"


def sampling_code(script):
    return lambda wildcards: code(script, (registry.DEGRADATIONS, DEGRADATIONS[wildcards.degradation]["kind"]))


def model_argument(wildcards, input):
    return f"--model {Path(input.model).parent}" if input.model else ""


rule choose_strength:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
    output:
        chosen="results/pairs/{dataset}/{degradation}/seed{seed}/strength.json",
    params:
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        restorer=json.dumps(
            {"steps": CONFIG["selection"]["steps"], "copies": CONFIG["selection"]["copies"]}
            | {"entry": RESTORERS[CONFIG["selection"]["restorer"]]}
        ),
        model=model_argument,
        code=sampling_code("choose_strength.py"),
    log:
        "results/logs/choose_strength/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/choose_strength/{dataset}/{degradation}/seed{seed}.tsv"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000),
        runtime=more(240),
        gpu=gpu_if(True),
    shell:
        "{PYTHON}/choose_strength.py --entry {params.entry:q} --selection {params.restorer:q} {params.model}"
        " --dataset results/data/{wildcards.dataset} --seed {wildcards.seed} --threads {threads}"
        " --device {CONFIG[device]} --out {output.chosen} 2>&1 | tee {log}"


rule sample_pairs:
    input:
        index="results/data/{dataset}/index.csv",
        model=trained_model,
        strength="results/pairs/{dataset}/{degradation}/seed{seed}/strength.json",
    output:
        multiext("results/pairs/{dataset}/{degradation}/seed{seed}/", "clean.npy", "degraded.npy"),
    params:
        entry=lambda wildcards: entry_of(wildcards, "options", "sampling"),
        model=model_argument,
        code=sampling_code("sample_pairs.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    log:
        "results/logs/sample_pairs/{dataset}/{degradation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/sample_pairs/{dataset}/{degradation}/seed{seed}.tsv"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(16000),
        runtime=more(120),
        gpu=gpu_if(True),
    shell:
        "{PYTHON}/sample_pairs.py --entry {params.entry:q} {params.model} --strength {input.strength}"
        " --dataset results/data/{wildcards.dataset} --seed {wildcards.seed} --threads {threads}"
        " --device {CONFIG[device]} --out {params.folder} 2>&1 | tee {log}"
