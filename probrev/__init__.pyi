from .boltzmann.machine import BoltzmannMachine
from .boltzmann.trained_machine import train_machine
from .calibration.calibration import Calibration, load_calibration
from .comparison.compare import compare
from .comparison.comparison import Comparison
from .comparison.gap import split_gap
from .comparison.looks import Look, compare_until
from .comparison.metrics.case import Case, Measured, Row
from .comparison.metrics.family import MetricFamily
from .inference.choice import choose_methods
from .inference.exact.exact import exact
from .inference.exact.exact_result import ExactOptions, ExactResult
from .inference.exact.plan import ExactPlan
from .inference.gibbs.gibbs import GibbsKernel, gibbs
from .inference.gibbs.sweep import Sweep
from .inference.hmc import hmc
from .inference.log_evidence import estimate_log_evidence
from .inference.messages.message_passing import message_passing
from .inference.partition import estimate_log_partition, log_partition
from .inverses.feedforward import Bias, FeedforwardNet
from .inverses.importance import importance_posterior
from .inverses.ladder import build_ladder, build_samplers, list_rungs
from .inverses.ladder.binary import MeanField, SigmoidPass, StochasticPass
from .inverses.ladder.layered import FirstStep, ScalarActivation, UnrolledMessagePassing
from .inverses.trained_net import TrainedNet, train_net
from .model.activations import (
    Activation,
    ClippedRelu,
    Identity,
    Increasing,
    LeakyRelu,
    Relu,
    Threshold,
)
from .model.conditional_prior import ConditionalPrior
from .model.distributions import LayerUnit
from .model.flat import Flat
from .model.layer import Layer
from .model.layered_model import LayeredModel
from .model.observations import Observations
from .model.priors import KSparse, SpikeAndSlab, sample_prior
from .model.protocol import Model
from .model.rectified_gaussian import RectifiedGaussian
from .model.slabs import FiniteSlab, LogQuadraticSlab
from .model.sparsity import sparsity_conditions
from .model.spread import spread_rows
from .model.states import FiniteStates
from .nets.activation_profile import ActivationProfile, profile_activations
from .nets.fitting.checks import Check
from .nets.fitting.layer_fit import LayerFit, fit_layer
from .nets.fitting.marginal_fit import MarginalFit, fit_marginal
from .nets.fitting.net_fit import FittedLevel, FittedNet, fit_net
from .nets.fitting.priors import fit_prior
from .nets.reversal import measure_reversal, predict_cosine, reverse
from .nets.shadow.calibration import expected_calibration_error
from .nets.shadow.classifier import Classifier
from .nets.shadow.recipe import Recipe
from .nets.shadow.synthetic import Shadow, draw_shadow
from .nets.shadow.training import Training, train_classifier
from .nets.similarity import measure_similarity
from .nets.weights.controls import gaussian_control, spectral_control
from .nets.weights.files import read_tensors
from .nets.weights.layers import read_layers
from .nets.weights.random_like import RandomLike, random_like
from .nets.weights.trained_layer import FoldedNorm, TrainedLayer, TrainedLayers
from .numerics.marchenko_pastur import MarchenkoPastur
from .plumbing.pytree import pytree
from .plumbing.refusal import Refusal
from .posterior.agreement import measure_agreement
from .posterior.external import from_datatree
from .posterior.posterior import Posterior, from_draws
from .report import write_calibration_report, write_report, write_weights_report
from .runs.checks.check import check_calibration
from .runs.net_run import judge_level
from .runs.saved_run import load
from .runs.sweeps.driver import sweep
from .runs.sweeps.grid import Grid, read_grid
from .runs.sweeps.store import load_sweep
from .runs.verification.verify import Verification, verify
from .theory.net_risk import predict_net_risk
from .theory.state_evolution import evolve_state

__version__: str

__all__ = [
    "Activation",
    "ActivationProfile",
    "Bias",
    "BoltzmannMachine",
    "Calibration",
    "Case",
    "Check",
    "Classifier",
    "ClippedRelu",
    "Comparison",
    "ConditionalPrior",
    "ExactOptions",
    "ExactPlan",
    "ExactResult",
    "FeedforwardNet",
    "FiniteSlab",
    "FiniteStates",
    "FirstStep",
    "FittedLevel",
    "FittedNet",
    "Flat",
    "FoldedNorm",
    "GibbsKernel",
    "Grid",
    "Identity",
    "Increasing",
    "KSparse",
    "Layer",
    "LayerFit",
    "LayerUnit",
    "LayeredModel",
    "LeakyRelu",
    "LogQuadraticSlab",
    "Look",
    "MarchenkoPastur",
    "MarginalFit",
    "MeanField",
    "Measured",
    "MetricFamily",
    "Model",
    "Observations",
    "Posterior",
    "RandomLike",
    "Recipe",
    "RectifiedGaussian",
    "Refusal",
    "Relu",
    "Row",
    "ScalarActivation",
    "Shadow",
    "SigmoidPass",
    "SpikeAndSlab",
    "StochasticPass",
    "Sweep",
    "Threshold",
    "TrainedLayer",
    "TrainedLayers",
    "TrainedNet",
    "Training",
    "UnrolledMessagePassing",
    "Verification",
    "build_ladder",
    "build_samplers",
    "check_calibration",
    "choose_methods",
    "compare",
    "compare_until",
    "draw_shadow",
    "estimate_log_evidence",
    "estimate_log_partition",
    "evolve_state",
    "exact",
    "expected_calibration_error",
    "fit_layer",
    "fit_marginal",
    "fit_net",
    "fit_prior",
    "from_datatree",
    "from_draws",
    "gaussian_control",
    "gibbs",
    "hmc",
    "importance_posterior",
    "judge_level",
    "list_rungs",
    "load",
    "load_calibration",
    "load_sweep",
    "log_partition",
    "measure_agreement",
    "measure_reversal",
    "measure_similarity",
    "message_passing",
    "predict_cosine",
    "predict_net_risk",
    "profile_activations",
    "pytree",
    "random_like",
    "read_grid",
    "read_layers",
    "read_tensors",
    "reverse",
    "sample_prior",
    "sparsity_conditions",
    "spectral_control",
    "split_gap",
    "spread_rows",
    "sweep",
    "train_classifier",
    "train_machine",
    "train_net",
    "verify",
    "write_calibration_report",
    "write_report",
    "write_weights_report",
]
