# Transports: an autoencoder, a map of its latents that a few images give, and restored images that it moves.
include: "../functions/transport.smk"


# One that is trained on the dataset's clean images; others are published.
rule train_autoencoder:
    input:
        "results/data/{dataset}/index.csv",
    output:
        multiext(
            "results/models/{dataset}/{autoencoder}/seed{seed}/",
            "model.safetensors",
            "model.json",
            "log.csv",
        ),
    log:
        "results/logs/train_autoencoder/{dataset}/{autoencoder}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train_autoencoder/{dataset}/{autoencoder}/seed{seed}.tsv"
    group:
        "autoencoder"
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
        entry=lambda wildcards: json.dumps(
            {
                part: AUTOENCODERS[wildcards.autoencoder][part]
                for part in ("kind", "options", "training")
                if part in AUTOENCODERS[wildcards.autoencoder]
            }
        ),
        code=transport_code("train_autoencoder.py"),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.launch}/train_autoencoder.py --entry {params.entry:q} --dataset results/data/{wildcards.dataset}"
        " --seed {wildcards.seed} --threads {threads} --device {params.device} --out {params.folder} 2>&1 | tee {log}"


rule fit_transport:
    input:
        index="results/data/{dataset}/index.csv",
        restorer=base_model,
        autoencoder=autoencoder_files,
        pairs=statistics_pairs,
        natural=natural_dataset,
    output:
        multiext(
            "results/models/{dataset}/{fitted}/seed{seed}/",
            "model.safetensors",
            "model.json",
            "alphas.csv",
        ),
    log:
        "results/logs/fit_transport/{dataset}/{fitted}/seed{seed}.log",
    benchmark:
        "results/benchmarks/fit_transport/{dataset}/{fitted}/seed{seed}.tsv"
    group:
        "transport"
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(60),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        entry=transport_entry,
        autoencoder=autoencoder_argument,
        statistics=statistics_arguments,
        code=transport_code("fit_transport.py"),
        images=restored_elsewhere,
        restorer=lambda wildcards, input: str(Path(input.restorer).parent),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "{params.python}/fit_transport.py --entry {params.entry:q} --autoencoder {params.autoencoder:q} --restorer {params.restorer}"
        " --dataset results/data/{wildcards.dataset} {params.statistics:q} --seed {wildcards.seed} --threads {threads}"
        " --device {params.device} --out {params.folder} 2>&1 | tee {log}"


rule transport:
    input:
        restored=base_restored,
        model=lambda wildcards: f"results/models/{source_of(wildcards)}/{chain_of(wildcards).fitted}/seed{wildcards.seed}/model.json",
        autoencoder=autoencoder_files,
    output:
        restored=directory("results/restored/{dataset}/{moved}/seed{seed}"),
        facts="results/transport/{dataset}/{moved}/seed{seed}.json",
    log:
        "results/logs/transport/{dataset}/{moved}/seed{seed}.log",
    benchmark:
        "results/benchmarks/transport/{dataset}/{moved}/seed{seed}.tsv"
    group:
        "moved"
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(120),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        autoencoder=autoencoder_argument,
        alpha=lambda wildcards: chain_of(wildcards).alpha,
        code=transport_code("transport.py"),
        model=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "{params.python}/transport.py --model {params.model} --autoencoder {params.autoencoder:q} --restored {input.restored}"
        " --alpha={params.alpha} --threads {threads} --device {params.device} --facts {output.facts} --out {output.restored}"
        " 2>&1 | tee {log}"


# The clean test images encoded and decoded: no transport in these latents comes nearer to them.
rule round_trip:
    input:
        index="results/data/{dataset}/index.csv",
        autoencoder=autoencoder_files,
    output:
        restored=directory("results/restored/{dataset}/{autoencoder}/seed{seed}"),
        facts="results/transport/{dataset}/{autoencoder}/seed{seed}.json",
    log:
        "results/logs/round_trip/{dataset}/{autoencoder}/seed{seed}.log",
    benchmark:
        "results/benchmarks/round_trip/{dataset}/{autoencoder}/seed{seed}.tsv"
    group:
        "applied"
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(60),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        autoencoder=autoencoder_argument,
        code=transport_code("round_trip.py"),
    shell:
        "{params.python}/round_trip.py --autoencoder {params.autoencoder:q} --clean results/data/{wildcards.dataset}/test/clean"
        " --name {wildcards.autoencoder} --threads {threads} --device {params.device} --facts {output.facts}"
        " --out {output.restored} 2>&1 | tee {log}"


# Every alpha on the test images: measured only, for the figure and the report's slider.
rule measure_curve:
    input:
        index="results/data/{dataset}/index.csv",
        restored=base_restored,
        niqe=niqe_model,
        model=lambda wildcards: f"results/models/{source_of(wildcards)}/{wildcards.fitted}/seed{wildcards.seed}/model.json",
        autoencoder=autoencoder_files,
    output:
        curve="results/transport/{dataset}/{fitted}/seed{seed}/curve.csv",
        crops=directory("results/transport/{dataset}/{fitted}/seed{seed}/crops"),
    log:
        "results/logs/measure_curve/{dataset}/{fitted}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_curve/{dataset}/{fitted}/seed{seed}.tsv"
    group:
        "curve"
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(120),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        autoencoder=autoencoder_argument,
        alphas=lambda wildcards: json.dumps(
            TRANSPORTS[chain_of(wildcards).transport]["alphas"]
        ),
        niqe=lambda wildcards, input: ["--niqe-model", input.niqe] if input.niqe else [],
        code=transport_code("measure_curve.py"),
        model=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "{params.python}/measure_curve.py --model {params.model} --autoencoder {params.autoencoder:q}"
        " --dataset results/data/{wildcards.dataset} --restored {input.restored} --alphas {params.alphas:q} {params.niqe:q}"
        " --threads {threads} --device {params.device} --crops {output.crops} --out {output.curve} 2>&1 | tee {log}"


# Maps that are known, and how far from them OTS and regularised GANs end: `snakemake --cores all table_ots_bias`. No part of `all`.
rule measure_bias:
    output:
        "results/bias/{problem}/seed{seed}.csv",
    log:
        "results/logs/measure_bias/{problem}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_bias/{problem}/seed{seed}.tsv"
    wildcard_constraints:
        problem=r"[a-z]+\d*",
        seed=r"\d+",
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(2000),
        runtime=more(120),
    params:
        python=with_python,
        entry=bias_entry,
        code=code("measure_bias.py"),
    shell:
        "{params.python}/measure_bias.py --entry {params.entry:q} --problem {wildcards.problem} --seed {wildcards.seed}"
        " --threads {threads} --out {output} 2>&1 | tee {log}"


rule plot_bias:
    input:
        bias_runs,
    output:
        multiext("results/tables/ots_bias", ".md", ".tex", ".html"),
        csv="results/tables/ots_bias.csv",
        png="results/figures/ots_bias.png",
        pdf="results/figures/ots_bias.pdf",
    log:
        "results/logs/plot_bias.log",
    benchmark:
        "results/benchmarks/plot_bias.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        code=code("plot_bias.py"),
    shell:
        "{params.python}/plot_bias.py --runs {input} --table {output.csv} --figure {output.png} 2>&1 | tee {log}"


rule table_ots_bias:
    input:
        "results/tables/ots_bias.csv",
    localrule: True
