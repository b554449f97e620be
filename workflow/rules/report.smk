# Figures and the report, of the tables that `all` makes.
include: "../functions/report.smk"


rule plot_losses:
    input:
        lambda wildcards: training_logs(wildcards.dataset).values(),
    output:
        png="results/figures/{dataset}/losses.png",
        pdf="results/figures/{dataset}/losses.pdf",
    log:
        "results/logs/plot_losses/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_losses/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        logs=lambda wildcards: named(training_logs(wildcards.dataset)),
        code=code("plot_losses.py"),
    shell:
        "{params.python}/plot_losses.py --log {params.logs:q} --out {output.png} 2>&1 | tee {log}"


rule plot_noise:
    input:
        lambda wildcards: [
            f"{folder}/noise.json"
            for folder in noise_folders(wildcards.dataset).values()
        ],
    output:
        patches=multiext("results/figures/{dataset}/noise_patches", ".png", ".pdf"),
        statistics=multiext(
            "results/figures/{dataset}/noise_statistics", ".png", ".pdf"
        ),
    log:
        "results/logs/plot_noise/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_noise/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        noise=lambda wildcards: named(noise_folders(wildcards.dataset)),
        code=code("plot_noise.py"),
    shell:
        "{params.python}/plot_noise.py --noise {params.noise:q} --patches {output.patches[0]}"
        " --statistics {output.statistics[0]} 2>&1 | tee {log}"


rule plot_comparison:
    input:
        index="results/data/{dataset}/index.csv",
        restored=lambda wildcards: restored_folders(wildcards.dataset).values(),
    output:
        directory("results/figures/{dataset}/comparison"),
    log:
        "results/logs/plot_comparison/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_comparison/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        restored=lambda wildcards: named(restored_folders(wildcards.dataset)),
        code=code("plot_comparison.py"),
    shell:
        "{params.python}/plot_comparison.py --dataset-dir results/data/{wildcards.dataset} --restored {params.restored:q}"
        " --out {output} 2>&1 | tee {log}"


rule plot_perception:
    input:
        lambda wildcards: moved_files(moved_folders(wildcards.dataset)),
    output:
        png="results/figures/{dataset}/perception_distortion.png",
        pdf="results/figures/{dataset}/perception_distortion.pdf",
    log:
        "results/logs/plot_perception/{dataset}.log",
    benchmark:
        "results/benchmarks/plot_perception/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        moved=lambda wildcards: named(moved_folders(wildcards.dataset)),
        code=code("plot_perception.py"),
    shell:
        "{params.python}/plot_perception.py --transport {params.moved:q} --out {output.png} 2>&1 | tee {log}"


# The example in the plane of deep optimal transport's appendix. No part of `all`.
rule plot_mixture:
    output:
        png="results/figures/gaussian_mixture.png",
        pdf="results/figures/gaussian_mixture.pdf",
    log:
        "results/logs/plot_mixture.log",
    benchmark:
        "results/benchmarks/plot_mixture.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        code=code("plot_mixture.py"),
    shell:
        "{params.python}/plot_mixture.py --out {output.png} 2>&1 | tee {log}"


rule plot_table:
    input:
        "results/tables/{table}.csv",
    output:
        png="results/figures/tables/{table}.png",
        pdf="results/figures/tables/{table}.pdf",
    log:
        "results/logs/plot_table/{table}.log",
    benchmark:
        "results/benchmarks/plot_table/{table}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        code=code("plot_table.py"),
    shell:
        "{params.python}/plot_table.py --table {input} --out {output.png} 2>&1 | tee {log}"


# The mean of a metric against the number of training photos. No part of `all`.
rule plot_curve:
    input:
        lambda wildcards: [path for _, path in curve_runs(wildcards)],
    output:
        csv="results/curves/{curve}.csv",
        png="results/figures/curves/{curve}.png",
        pdf="results/figures/curves/{curve}.pdf",
    log:
        "results/logs/plot_curve/{curve}.log",
    benchmark:
        "results/benchmarks/plot_curve/{curve}.tsv"
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        runs=lambda wildcards: ["=".join(run) for run in curve_runs(wildcards)],
        metric=lambda wildcards: CONFIG["curves"][wildcards.curve]["metric"],
        code=code("plot_curve.py"),
    shell:
        "{params.python}/plot_curve.py --run {params.runs:q} --metric {params.metric} --csv {output.csv} --out {output.png} 2>&1 | tee {log}"


rule describe:
    output:
        "results/config.json",
    log:
        "results/logs/describe.log",
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        config=json.dumps(CONFIG, indent=2),
    shell:
        "(printf '%s' {params.config:q} > {output}.tmp && mv {output}.tmp {output}) 2> {log}"


# Asks Snakemake itself, which takes seconds: once a configuration.
rule rulegraph:
    input:
        workflow.main_snakefile,
        sorted((ROOT / "workflow").rglob("*.smk")),
    output:
        "results/rulegraph.dot",
    log:
        "results/logs/rulegraph.log",
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        config=json.dumps(CONFIG),
        given=json.dumps(config),  # files and --config, merged, for the other Snakemake
        snakemake=[
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            workflow.main_snakefile,
        ],
    shell:
        "trap 'rm -f {output}.tmp*' EXIT; printf '%s' {params.given:q} > {output}.tmp.json"
        " && {params.snakemake:q} --configfile {output}.tmp.json --nolock --forceall --rulegraph dot -- all"
        " > {output}.tmp 2> {log} && mv {output}.tmp {output}"


rule report:
    input:
        config="results/config.json",
        graph="results/rulegraph.dot",
        templates=sorted(file for file in TEMPLATES.rglob("*") if file.is_file()),
        tables=[f"results/tables/{table}.csv" for table in TABLES_IN_ALL],
        figures=report_figures().values(),
        restored=[
            path for dataset in REPORTED for path in restored_folders(dataset).values()
        ],
        moved=[
            path
            for dataset in REPORTED
            for path in moved_files(moved_folders(dataset, TABLES_IN_ALL))
        ],
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        "../../envs/nopairs.yaml"
    params:
        python=with_python,
        arguments=lambda wildcards, input: report_arguments(),
        code=code("report.py"),
    shell:
        "{params.python}/report.py --config {input.config} --rulegraph {input.graph} {params.arguments:q}"
        " --benchmarks results/benchmarks --out {output} 2>&1 | tee {log}"
