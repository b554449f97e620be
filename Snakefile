# nopairs: from unpaired photos to a trained restorer, tables, figures and a report.
#   snakemake --cores all                  everything that config.yaml describes
#   snakemake --cores all table_denoising  one table with its figures
#   snakemake --profile slurm all          the same on a cluster
import logging

from snakemake.utils import min_version

min_version("9.0")
# On a full disk Python would print a traceback for every line that Snakemake's log file cannot take.
logging.raiseExceptions = False


configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/degradation.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/restoration.smk"
include: "workflow/rules/flow.smk"
include: "workflow/rules/transport.smk"
include: "workflow/rules/priors.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        [f"results/tables/{table}.csv" for table in TABLES_IN_ALL],
        submissions(),
        "results/report.html",
    localrule: True


# The states of finished trainings (nopairs/training/loop.py) go; what to look at next is said.
onsuccess:
    for state in Path("results/models").rglob("training_state.pt"):
        if (state.parent / "model.json").is_file():
            state.unlink()
    if any(job.rule.name == "report" for job in workflow.dag.finished_jobs):
        print(f"The report: {Path('results/report.html').resolve()}")
        for model in own_models():
            print(
                f"Your photos: nopairs restore --model {shlex.quote(model)} FOLDER -o restored"
            )


# One short target a table with its figures, and a curve: `snakemake --cores all table_denoising`.
for name in CONFIG["tables"]:

    rule:
        name:
            f"table_{name}"
        input:
            f"results/tables/{name}.csv",
            table_figures(name),
        localrule: True


for name in CONFIG["curves"]:

    rule:
        name:
            f"curve_{name}"
        input:
            f"results/figures/curves/{name}.png",
        localrule: True
