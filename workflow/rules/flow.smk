# Flows looked at: crops along the way, what the auxiliary variable changes, the way back, and a table against the steps.
include: "../functions/flow.smk"


rule trace_flow:
    input:
        index="results/data/{dataset}/index.csv",
        model=lambda wildcards: f"results/models/{source_of(wildcards)}/{wildcards.flow}/seed{wildcards.seed}/model.json",
    output:
        directory("results/flows/{dataset}/{flow}/seed{seed}"),
    log:
        "results/logs/trace_flow/{dataset}/{flow}/seed{seed}.log",
    benchmark:
        "results/benchmarks/trace_flow/{dataset}/{flow}/seed{seed}.tsv"
    group:
        "flow"
    conda:
        "../../envs/nopairs.yaml"
    threads: CONFIG["threads"]
    resources:
        mem_mb=more(8000),
        runtime=more(30),
        gpu=gpu_if(True),
    params:
        python=with_python,
        device=CONFIG["device"],
        code=code("trace_flow.py", (registry.RESTORERS, "resflow")),
        model=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "{params.python}/trace_flow.py --model {params.model} --dataset results/data/{wildcards.dataset}"
        " --threads {threads} --device {params.device} --out {output} 2>&1 | tee {log}"


rule plot_flow:
    input:
        f"results/flows/{{dataset}}/{{flow}}/seed{SEEDS[0]}",
    output:
        multiext("results/figures/{dataset}/{flow}/trajectories", ".png", ".pdf"),
        multiext("results/figures/{dataset}/{flow}/draws", ".png", ".pdf"),
    log:
        "results/logs/plot_flow/{dataset}/{flow}.log",
    benchmark:
        "results/benchmarks/plot_flow/{dataset}/{flow}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        code=code("plot_flow.py"),
        out=lambda wildcards, output: str(Path(output[0]).with_name("flow.png")),
    shell:
        "{params.python}/plot_flow.py --flow {input} --method {wildcards.flow} --out {params.out} 2>&1 | tee {log}"


rule plot_steps:
    input:
        table="results/tables/{table}.csv",
        flow=flow_of_table,
    output:
        png="results/figures/tables/{table}_steps.png",
        pdf="results/figures/tables/{table}_steps.pdf",
    log:
        "results/logs/plot_steps/{table}.log",
    benchmark:
        "results/benchmarks/plot_steps/{table}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        evaluations=lambda wildcards: named(evaluations_of(wildcards.table)),
        code=code("plot_flow.py"),
    shell:
        "{params.python}/plot_flow.py --flow {input.flow} --table {input.table} --evaluations {params.evaluations:q}"
        " --out {output.png} 2>&1 | tee {log}"
