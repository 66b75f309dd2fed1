from .agreement import measure_agreement
from .boltzmann import BoltzmannMachine
from .comparison import Comparison, compare, load
from .distributions import LinearDropout, RectifiedDropout
from .feedforward import Bias, FeedforwardNet
from .gap import split_gap
from .inference.choice import choose_methods
from .inference.exact import exact
from .inference.gibbs import GibbsKernel, gibbs
from .inference.hmc import hmc
from .inference.message_passing import message_passing
from .inference.partition import estimate_log_evidence, estimate_log_partition, log_partition
from .ladder import build_ladder, build_samplers, list_rungs
from .ladder.binary import MeanField, SigmoidPass, StochasticPass
from .ladder.layered import FirstStep, ScalarActivation, UnrolledMessagePassing
from .layer import Layer
from .model import LayeredModel, Model, Observations
from .net_risk import predict_net_risk
from .posterior import Posterior, from_datatree
from .priors import KSparse, SpikeAndSlab, sample_prior, sparsity_conditions
from .report import write_report, write_weights_report
from .slabs import FiniteSlab, LogQuadraticSlab
from .state_evolution import evolve_state
from .states import FiniteStates
from .sweeps.driver import sweep
from .sweeps.grid import Grid, read_grid
from .sweeps.store import load_sweep
from .trained_net import TrainedNet, train_net
from .weights.controls import gaussian_control, spectral_control
from .weights.files import read_tensors
from .weights.layers import TrainedLayer, read_layers
from .weights.marchenko_pastur import MarchenkoPastur
from .weights.random_like import RandomLike, random_like

__all__ = [
    "Bias",
    "BoltzmannMachine",
    "Comparison",
    "FeedforwardNet",
    "FiniteSlab",
    "FiniteStates",
    "FirstStep",
    "GibbsKernel",
    "Grid",
    "KSparse",
    "Layer",
    "LayeredModel",
    "LinearDropout",
    "LogQuadraticSlab",
    "MarchenkoPastur",
    "MeanField",
    "Model",
    "Observations",
    "Posterior",
    "RandomLike",
    "RectifiedDropout",
    "ScalarActivation",
    "SigmoidPass",
    "SpikeAndSlab",
    "StochasticPass",
    "TrainedLayer",
    "TrainedNet",
    "UnrolledMessagePassing",
    "build_ladder",
    "build_samplers",
    "choose_methods",
    "compare",
    "estimate_log_evidence",
    "estimate_log_partition",
    "evolve_state",
    "exact",
    "from_datatree",
    "gaussian_control",
    "gibbs",
    "hmc",
    "list_rungs",
    "load",
    "load_sweep",
    "log_partition",
    "measure_agreement",
    "message_passing",
    "predict_net_risk",
    "random_like",
    "read_grid",
    "read_layers",
    "read_tensors",
    "sample_prior",
    "sparsity_conditions",
    "spectral_control",
    "split_gap",
    "sweep",
    "train_net",
    "write_report",
    "write_weights_report",
]
