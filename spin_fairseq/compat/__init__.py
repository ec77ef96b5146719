"""Patches of fairseq, torch and hydra. No other room depends on their versions.

`apply` runs when the task of a training is set up, in each process of the training. Each patch is a function whose
docstring says what goes wrong without it, and in which versions. The modules:

- `data_workers`: trainings that wait for ever for a lost batch, or 5 s for each worker at the end of an epoch;
- `hydra_errors`: errors that hydra 1.0 fails to print;
- `ranks`: validation counts, which ranks on CPUs could not exchange;
- `training`: saving, resuming and stopping a run;
- `paths`: where fairseq looks for files;
- `threads`: torch's threads, which are more than there are free CPUs;
- `attention`: cuDNN's attention, which is slow for speech, is switched off;
- `half_precision`: resuming in half precision, and logging that waits for the GPU.

`pickles` patches nothing: it lists the classes that torch may build from a fairseq checkpoint.
"""

__all__ = ["apply"]


def apply() -> None:
    """Apply all patches; safe to call twice."""
    from .attention import leave_out_cudnn_attention
    from .data_workers import end_workers_quickly, end_workers_that_cannot_deliver, import_what_workers_would
    from .half_precision import mend_half_precision
    from .hydra_errors import let_hydra_print_errors
    from .paths import mend_paths
    from .ranks import gather_over_gloo
    from .threads import leave_busy_cpus_alone
    from .training import mend_training

    let_hydra_print_errors()
    end_workers_quickly()
    end_workers_that_cannot_deliver()
    import_what_workers_would()
    gather_over_gloo()
    mend_training()
    mend_paths()
    mend_half_precision()
    leave_out_cudnn_attention()
    leave_busy_cpus_alone()
