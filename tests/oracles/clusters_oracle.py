"""PNMI and purities by their formulas, over every pair of a phone and a unit."""

import math


def clusters_oracle(phones, units):
    frames = len(phones)
    joint = {(p, u): 0 for p in set(phones) for u in set(units)}
    for pair in zip(phones, units):
        joint[pair] += 1
    phone_count = {p: sum(joint[p, u] for u in set(units)) for p in set(phones)}
    unit_count = {u: sum(joint[p, u] for p in set(phones)) for u in set(units)}
    information = sum(
        count / frames * math.log(count * frames / (phone_count[p] * unit_count[u]))
        for (p, u), count in joint.items()
        if count
    )
    phone_entropy = -sum(count / frames * math.log(count / frames) for count in phone_count.values())
    return {
        "pnmi": information / phone_entropy if phone_entropy else 1.0,
        "cluster_purity": sum(max(joint[p, u] for u in set(units)) for p in set(phones)) / frames,
        "phone_purity": sum(max(joint[p, u] for p in set(phones)) for u in set(units)) / frames,
    }


def conditional_entropy_oracle(wanted, known):
    """H(wanted | known) in bits: the entropy of what is wanted among the frames of each known value, averaged."""
    result = 0.0
    for value in set(known):
        among = [w for w, k in zip(wanted, known) if k == value]
        for other in set(among):
            share = among.count(other) / len(among)
            result -= len(among) / len(known) * share * math.log2(share)
    return result


def best_phone_oracle(phones, units):
    """{unit: (share, frames)} of its likeliest phone."""
    result = {}
    for unit in set(units):
        among = [p for p, u in zip(phones, units) if u == unit]
        result[unit] = max(among.count(p) for p in set(among)) / len(among), len(among)
    return result
