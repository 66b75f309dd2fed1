"""What each metric of the summary table means, and each part of the gap, in one line."""

GLOSSARY = {
    "relative_risk": "Squared error against the truth, Σ‖ĥ − h‖² / Σ‖h‖², over all observations. "
    "Of a random inverse: of the mean of its samples.",
    "claimed_relative_risk": "The relative risk that the posterior expects of its own mean: its "
    "variance over Σ‖h‖². Near its relative risk if the posterior is honest.",
    "risk_ratio": "Risk over the risk of the posterior mean, R; 1 is as good as Bayes. Where the "
    "model made x and h, and without a truth: 1 + excess risk / posterior variance, the same in "
    "expectation.",
    "risk_ratio_with_h": "R from squared errors against the h that made x: the check of the above.",
    "claimed_over_actual": "The posterior's variance over the squared error of its mean: 1 if the "
    "posterior is honest, below 1 if it is too sure.",
    "claimed_over_actual_999": "The same with a 99.9 % interval: one without 1 convicts.",
    "truth_rank_p": "Rank test of whether the h that made x could be draws from the posterior, in "
    "the directions in which inverses differ from its mean; uniform for the right posterior; .001 "
    "or less convicts.",
    "excess_risk": "Mean of ‖ĥ − E[h|x]‖² per observation, in units of h²: what an inverse loses "
    "to Bayes. Monte Carlo noise of the posterior mean is taken off.",
    "support_prob": "Posterior probability that exactly the estimate's units are active.",
    "support_precision": "Of the units called active, the share that is.",
    "support_recall": "Of the active units, the share called active.",
    "support_f1": "Harmonic mean of precision and recall.",
    "support_exact_match": "Share of observations whose active units are all found, and no other.",
    "brier": "Mean squared error of the inclusion probabilities as forecasts of which units are "
    "active; 0 is perfect.",
    "log_score": "Mean of −log of the probability given to what is true, per unit; 0 is perfect.",
    "inside_interval": "Share of an estimate's units inside the posterior's central 90 % interval.",
    "interval_mass": "The posterior's own mass in its central 90 % intervals: more than 90 % where "
    "an interval ends on the atom at 0.",
    "truth_in_interval": "Share of true units inside the 90 % intervals; to be held against "
    "interval_mass, not against 90 %.",
    "log_likelihood": "log p(x | ĥ), mean over observations.",
    "likelihood_rank": "Share of posterior draws that explain x worse than the estimate: near 0 it "
    " explains x worse than almost every draw, near 1 it fits noise.",
    "reconstruction_error": "Σ‖x̃ − x‖² / Σ‖x‖², x̃ = E[x | ĥ]: x → ĥ → x̃. Not to be minimised: x "
    "itself would be best, noise and all. Of “posterior”: x̃ = E[x | h], mean over its draws.",
    "reconstruction_risk": "The same against E[x | h] at the true h, the noiseless x, of which "
    "“posterior” is the Bayes limit.",
    "predictive_surprise_zero_share": "Share of observations whose share of zeros lies outside 90 "
    "% of its posterior predictive; near 10 % or below for a model that made x.",
    "predictive_surprise_norm": "The same for ‖x‖.",
    "predictive_surprise_largest": "The same for the largest xⱼ.",
    "predictive_surprise_log_likelihood": "The same for log p(x | h), h being the draw that each "
    "replicate was made from.",
    "predictive_p_zero_share": "Probability of so many such observations or more if each had a "
    "chance of 10 %: at most .001 / 3 is a misfit.",
    "predictive_p_norm": "The same for ‖x‖.",
    "predictive_p_largest": "The same for the largest xⱼ; shown, not tested.",
    "predictive_p_log_likelihood": "The same for log p(x | h).",
    "agreement": "Share of the observations that could be checked on which the draws of a sampler "
    "and those of the other posterior agree at every threshold: P(hᵢ > c), c = 0 and quantiles of "
    "hᵢ > 0.",
    "threshold_excess": "Largest ESS · KL(p′‖p) over thresholds, p′ = P(hᵢ > c) of the sampler, in "
    "units of the bound that perfect samplers exceed once in 1,000 runs; at most 1 is agreement.",
    "agreement_p": "p-value of the joint test of a sampler's draws: energy distance to the other "
    "posterior's, labels permuted; disagreement at 0.001 or below.",
    "agreement_checked": "Share of observations on which a sampler's draws say enough to be held "
    "against the other posterior's.",
    "inclusion_gap": "Largest difference of an inclusion probability from the other posterior's: "
    "the error of an approximation, and for a sampler its noise too.",
    "total_variation": "Between the active sets drawn by both, mean over observations; biased "
    "upwards by noise, so read it beside its floor.",
    "total_variation_floor": "The same between two halves of the reference's own draws.",
    "energy_distance": "√(2 E‖h̃ − h‖ − E‖h̃ − h̃′‖ − E‖h − h′‖), h̃ samples of a random inverse and h "
    "draws of the posterior, in units of h; mean over observations. Finite samples of one law are "
    "not at 0: of “posterior” it is the same between two halves of its own draws.",
    "sliced_wasserstein": "Mean Wasserstein-1 distance of the same, projected onto random "
    "directions, in units of h; to be held against “posterior” too.",
    "spread_ratio": "Spread of the samples over that of the posterior: root of the ratio of total "
    "variances, pooled over observations. Of “posterior”: of two halves of its draws.",
    "seconds_per_obs": "Run time per observation, without compilation.",
    "compile_seconds": "Time spent on compiling, once per shape.",
}

PARTS = {
    "bias": "The paper's bias, √(2 log m) standard deviations of the readout, instead of as many "
    "as minimise the risk.",
    "activation": "A rectifier instead of E[hᵢ | uᵢ], what the prior makes of one noisy readout.",
    "silence": "Rows that are 0 are evidence too, and Wᵀx does not hear them.",
    "iteration": "One pass up instead of many, each correcting for what the others explain.",
    "rest": "What message passing, unit by unit, still loses to the posterior itself.",
    "weights": "What trained weights and biases take off the calibrated net.",
}
