"""How numbers of several seeds are written: means, standard errors, changes in per cent."""

import numpy as np


def mean_and_error(values):
    """-> mean and standard error, which is NaN for a single value."""
    values = np.asarray(values, dtype=float)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def mean_text(values, sign=""):
    """ "0.431 ± 0.003", with as many decimals as a number of that size needs; "–" where a value is missing."""
    values = np.asarray(values, dtype=float)
    if np.isnan(values).any():
        return "–"
    mean, error = mean_and_error(values)
    decimals = 1 if np.abs(values).mean() >= 10 else 3
    return f"{mean:{sign}.{decimals}f}" + (f" ± {error:.{decimals}f}" if len(values) > 1 else "")


def change_text(values, of, decimals=0):
    """Change of the mean, in per cent of the mean of others: "-32 %"; "–" where that says nothing."""
    mean, other = (np.mean(np.asarray(each, dtype=float)) for each in (values, of))
    return f"{mean / other - 1:+.{decimals}%}".replace("%", " %") if other > 0 and np.isfinite(mean) else "–"
