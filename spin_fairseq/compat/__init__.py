"""All that is patched in fairseq, torch and hydra; nothing else in the package asks for a version of them.

`apply` is called when the task of a training is set up, in each of its processes. Every patch is a function that says what
it mends, and where:

- `data_workers`: a worker that cannot hand over its batch, and the wait for workers at the end of an epoch;
- `hydra_errors`: errors that hydra 1.0 cannot print;
- `ranks`: counts that ranks on CPUs exchange;
- `training`: how fairseq saves, resumes and stops a run;
- `paths`: where fairseq looks for files;
- `threads`: more threads than CPUs that are free;
- `attention`: cuDNN's, which plans for every shape, is left out;
- `half_precision`: what half precision loses, and logging that waits for the GPU.

`pickles` patches nothing: it tells torch which classes a fairseq checkpoint consists of.
"""

__all__ = ["apply"]


def apply():
    """Patch what a training needs; safe to call twice."""
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
