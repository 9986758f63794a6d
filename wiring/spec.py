"""The language: a learning algorithm is one frozen record. Unknown fields are refused; JSON goes both ways unchanged.

Processing order of a step that the words below describe: forward; the output's *signal*; transmissions over error
*synapses* in the order that the *topology* gives; *credit* at each site; updates of regions; *plasticity* of synapses.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from wiring.record import Count, Fraction, Positive, Record, Word

# --------------------------------------------------------------------------------------------- how synapses start


class Init(Word):
    """Family: the distribution that a weight, of an error synapse as a rule, starts from."""


class KaimingUniform(Init):
    """He et al. (2015), ``U(-b, b)`` with ``b = sqrt(6 / fan_in)``; fan-in as torch counts it for the stored layout."""

    kind: Literal["kaiming_uniform"] = "kaiming_uniform"


class GlorotUniform(Init):
    """Glorot and Bengio (2010), ``U(-b, b)`` with ``b = sqrt(6 / (fan_in + fan_out))``."""

    kind: Literal["glorot_uniform"] = "glorot_uniform"


class Normal(Init):
    """Zero-mean Gaussian of standard deviation ``std``."""

    kind: Literal["normal"] = "normal"
    std: Positive


class Zeros(Init):
    """All zero: forward weights of DRTP's studies; an error synapse of zeros carries nothing until it learns."""

    kind: Literal["zeros"] = "zeros"


class LikeForward(Init):
    """Start equal to the forward weights that a mirror stands for (EKDAA's released code)."""

    kind: Literal["like_forward"] = "like_forward"


# --------------------------------------------------------------------------------------------- how an edge carries


class Synapse(Word):
    """Family: how an edge carries an error vector from its sender to its receiver."""


class Dense(Synapse):
    """``d = e B`` with ``B`` of shape ``[source units, *receiver shape]``."""

    kind: Literal["dense"] = "dense"
    init: SerializeAsAny[Init] = KaimingUniform()


class Sparse(Synapse):
    """Dense, with ``fan_in`` source units a receiver unit and zeros elsewhere, drawn once."""

    kind: Literal["sparse"] = "sparse"
    fan_in: Count = 1
    init: SerializeAsAny[Init] = KaimingUniform()

    @model_validator(mode="after")
    def _not_of_zeros(self) -> Self:
        if isinstance(self.init, Zeros):
            raise ValueError(
                "a sparse synapse of zeros would keep all of them and never carry anything. Use another init, or dense."
            )
        return self


class Kernel(Synapse):
    """A convolution of odd ``size`` from the sender's channels to the receiver's; maps of other sizes are resampled.

    ``upsampling``: how, ``nearest`` or ``bilinear`` (linear and trilinear along one and three axes).
    """

    kind: Literal["kernel"] = "kernel"
    size: Count = 3
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    init: SerializeAsAny[Init] = KaimingUniform()

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.size % 2 == 0:
            raise ValueError(f"a kernel of even size {self.size} has no centre, so it cannot keep positions. Use {self.size + 1}.")
        return self


class Pointwise(Synapse):
    """A kernel of size 1: mixes channels at each position, ``E`` of shape ``[receiver channels, source channels]``."""

    kind: Literal["pointwise"] = "pointwise"
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    init: SerializeAsAny[Init] = KaimingUniform()


class Channelwise(Synapse):
    """One factor a channel, ``E`` of shape ``[channels]``; sender and receiver have equally many channels."""

    kind: Literal["channelwise"] = "channelwise"
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    init: SerializeAsAny[Init] = Normal(std=1.0)


class ByShape(Synapse):
    """``maps`` where both ends have positions (``[C, H, W]``, ``[T, D]``), ``vectors`` where either has none."""

    kind: Literal["by_shape"] = "by_shape"
    maps: SerializeAsAny[Synapse]
    vectors: SerializeAsAny[Synapse] = Dense()


class Mirror(Synapse):
    """The forward path's own linearisation, with every trainable forward weight on it replaced by a tensor of the same shape.

    A weight that is not trained (``frozen``, or ``requires_grad=False``) is not replaced: the error passes over the weight itself,
    which the report lists as weight transport.

    ``weights``: ``forward`` is the weight itself (backpropagation); ``random`` an own tensor, which ``plasticity`` may
    teach; ``sign`` is ``sign(W) * M`` with magnitudes ``M`` ``constant``, ``fresh`` each step, or ``fixed`` at random.
    ``upsampling``: what a pooling on the path does to an error: ``unpool`` is its own linearisation (max-pooling: each error to
    the place of its maximum; average pooling: in equal shares); ``nearest`` and ``bilinear`` resample to the size before
    pooling. EKDAA's paper says only "up-sampling"; its released code is bilinear.
    """

    kind: Literal["mirror"] = "mirror"
    weights: Literal["forward", "random", "sign"] = "random"
    magnitude: Literal["constant", "fresh", "fixed"] = "constant"
    upsampling: Literal["unpool", "nearest", "bilinear"] = "unpool"
    init: SerializeAsAny[Init] = KaimingUniform()


# --------------------------------------------------------------------------------------------- credit at a site


class Credit(Word):
    """Family: what a site does with the displacement ``d`` that arrives."""


class Gradient(Credit):
    """``c = kappa d * phi'(h)``; ``surrogate="straight_through"`` takes ``phi' = 1`` instead.

    ``kappa`` scales what teaches the site's region, not what the site sends on.
    """

    kind: Literal["gradient"] = "gradient"
    surrogate: Literal["straight_through"] | None = None
    kappa: Positive = 1.0


class Elastic(Record):
    """``e = a (z - y) + (1 - a) sign(z - y)``: ``a`` where a skip edge ends and where an adjacent edge ends.

    Source: rec-LRA, appendix (0.19 and 0.24, for CNNs and ResNets only). With small targets the sign term dominates.
    """

    skip: Fraction = 0.19
    adjacent: Fraction = 0.24


class Target(Credit):
    """``y = phi(h - beta d)``, ``e = z - y``, ``c = e``, or ``c = e phi'(h)`` with ``derivative``; ``kappa`` scales ``c``.

    Source: rec-LRA eq. 3, 4 and 7; EKDAA eq. 3 and 6. ``p`` and ``q`` are the norms of the total discrepancy (eq. 2).
    """

    kind: Literal["target"] = "target"
    beta: Positive = 0.1
    derivative: bool = False
    elastic: Elastic | None = None
    kappa: Positive = 1.0
    p: Positive = 2.0
    q: Positive = 2.0


class Frozen(Credit):
    """The site cuts the model and its region does not learn."""

    kind: Literal["frozen"] = "frozen"


# --------------------------------------------------------------------------------------------- plasticity of synapses


class Plasticity(Word):
    """Family: how error synapses learn; written as a gradient ``dE``, used as ``E <- E - lr dE``.

    ``teaches``: edges' ``own`` synapses, ``mirrors`` with random weights, or ``any``.
    """

    teaches: ClassVar[Literal["own", "mirrors", "any"]] = "own"


class Fixed(Plasticity):
    """Synapses keep their first values."""

    teaches = "any"
    kind: Literal["fixed"] = "fixed"


class KolenPollack(Plasticity):
    """``dB = sign * dW`` laid out as ``B`` (DKP eq. 6, 11: sign +1). Give forward and error parameters equal weight decay."""

    teaches = "mirrors"
    kind: Literal["kolen_pollack"] = "kolen_pollack"
    sign: Literal[1, -1] = 1


class DirectKolenPollack(Plasticity):
    """``dB = sign * e_source z_receiver^T`` (DKP eq. 7-8: sign +1). Give forward and error parameters equal weight decay."""

    kind: Literal["direct_kolen_pollack"] = "direct_kolen_pollack"
    sign: Literal[1, -1] = 1


class Hebbian(Plasticity):
    """``dE = sign * gamma * a e_source^T`` where ``a`` is what ``post`` names at the receiver.

    ``displacement``: ``d`` (rec-LRA eq. 6, printed with sign -1); ``activity``: ``z`` (rec-LRA appendix, +1);
    ``error``: ``e`` (rec-LRA appendix, "derived", -1). ``derivative``: ``a * phi'(h - beta d)`` instead of ``a``, the derivative
    restored (rec-LRA appendix, variant "dx"); under gradient credit ``a * phi'(h)``.
    """

    kind: Literal["hebbian"] = "hebbian"
    post: Literal["displacement", "activity", "error"] = "activity"
    gamma: Positive = 0.1
    sign: Literal[1, -1] = 1
    derivative: bool = False


class ErrorKernel(Plasticity):
    """``dE = sign * gamma * dW`` laid out as ``E`` (EKDAA eq. 8, printed with sign -1; its released code uses +1)."""

    teaches = "mirrors"
    kind: Literal["error_kernel"] = "error_kernel"
    gamma: Positive = 0.1
    sign: Literal[1, -1] = 1


class NoiseMirror(Plasticity):
    """``dB = decay * B - sign * gamma * mean((W xi) xi^T)`` laid out as ``B``, with Gaussian noise ``xi`` of deviation ``std``.

    Source: weight mirror (Akrout et al. 2019). Each step has a noise phase beside the rest: ``xi`` is fed into every mirrored
    layer alone, biases left out, and the outer products are averaged over the batch and over a kernel's positions. As
    ``mean((W xi) xi^T)`` is ``std^2 W``, ``B`` comes to rest around ``gamma std^2 / decay`` times ``W``: with the defaults, around ``W``.
    Not so the taps of a padded convolution that reach into the padding: the mean counts those positions too, and no noise is there, so
    that such a tap rests at the share of its positions inside times that: 4/9 for the first of a 3x3 kernel of stride 2, 6x6 to 3x3.
    """

    teaches = "mirrors"
    kind: Literal["noise_mirror"] = "noise_mirror"
    gamma: Positive = 0.1
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    std: Positive = 1.0
    sign: Literal[1, -1] = 1


# --------------------------------------------------------------------------------------------- where: sites


class Sites(Record):
    """Which places of the model are sites.

    ``include`` and ``exclude``: patterns over site names (``*`` any characters, ``?`` one). ``modules``: patterns over
    module paths whose outputs become sites too. ``blocks``: patterns over module paths that replace the residual blocks
    that the compiler finds.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
