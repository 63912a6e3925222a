"""The source of each shipped attack, by its name; everyday edits have none but this software."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scoreguard_client.report.references import (
    BENCHMARK,
    MOMENTUM,
    OURS,
    PARAMETER_FREE,
    PERCEPTUAL,
    SHIN,
    Reference,
)

ATTACKS: Final[Mapping[str, tuple[Reference, ...]]] = {
    "fgsm": (
        Reference(
            key="goodfellow2015explaining",
            authors=("Goodfellow", "others"),
            year=2015,
            title="Explaining and harnessing adversarial examples",
            arxiv="1412.6572",
        ),
    ),
    "ifgsm": (
        Reference(
            key="kurakin2017adversarial",
            authors=("Kurakin", "others"),
            year=2017,
            title="Adversarial examples in the physical world",
            arxiv="1607.02533",
        ),
    ),
    "mifgsm": (MOMENTUM,),
    "amifgsm": (
        Reference(
            key="sang2022generation",
            authors=("Sang", "others"),
            year=2022,
            title="On the generation of adversarial samples for image quality assessment",
        ),
    ),
    "korhonen": (
        Reference(
            key="korhonen2022",
            authors=("Korhonen", "You"),
            year=2022,
            venue="QoEVMA",
            doi="10.1145/3552469.3555715",
        ),
    ),
    "ssah": (
        Reference(
            key="luo2022frequency",
            authors=("Luo", "others"),
            year=2022,
            title="Frequency-driven imperceptible adversarial attack on semantic similarity",
            venue="CVPR",
            arxiv="2203.05151",
        ),
    ),
    "madc": (
        Reference(
            key="wang2008maximum",
            authors=("Wang", "Simoncelli"),
            year=2008,
            title="Maximum differentiation (MAD) competition",
            venue="Journal of Vision 8(12):8",
        ),
    ),
    "zhang-ssim": (PERCEPTUAL,),
    "zhang-lpips": (PERCEPTUAL,),
    "zhang-dists": (PERCEPTUAL,),
    "advcf": (Reference(key="zhao2020", authors=("Zhao", "Liu", "Larson"), year=2020, arxiv="2011.06690"),),
    "cumulative-uap": (BENCHMARK,),
    "optimized-uap": (
        Reference(
            key="shumitskaya2022universal",
            authors=("Shumitskaya", "others"),
            year=2022,
            title="Universal perturbation attack on differentiable no-reference image- and video-quality metrics",
            venue="BMVC",
        ),
    ),
    "generative-uap": (BENCHMARK,),
    "momentum-uap": (
        Reference(
            key="moosavidezfooli2017universal",
            authors=("Moosavi-Dezfooli", "others"),
            year=2017,
            title="Universal adversarial perturbations",
            arxiv="1610.08401",
        ),
    ),
    "pgd": (
        Reference(
            key="madry2018towards",
            authors=("Madry", "others"),
            year=2018,
            title="Towards deep learning models resistant to adversarial attacks",
            arxiv="1706.06083",
        ),
    ),
    "apgd": (PARAMETER_FREE,),
    "mpgd": (OURS, MOMENTUM, SHIN),
    "dct-threshold": (OURS, SHIN),
    "ioi": (
        Reference(
            key="shumitskaya2024ioi",
            authors=("Shumitskaya", "Antsiferova", "Vatolin"),
            year=2024,
            title="IOI: Invisible one-iteration adversarial attack on no-reference image- and video-quality metrics",
            venue="ICML",
            arxiv="2403.05955",
        ),
    ),
    "square": (
        Reference(
            key="andriushchenko2020square",
            authors=("Andriushchenko", "Croce", "Flammarion", "Hein"),
            year=2020,
            title="Square Attack: a query-efficient black-box adversarial attack via random search",
            venue="ECCV",
            arxiv="1912.00049",
        ),
    ),
    "nes": (
        Reference(
            key="ilyas2018blackbox",
            authors=("Ilyas", "Engstrom", "Athalye", "Lin"),
            year=2018,
            title="Black-box adversarial attacks with limited queries and information",
            venue="ICML",
            arxiv="1804.08598",
        ),
    ),
    "spsa": (
        Reference(
            key="uesato2018adversarial",
            authors=("Uesato", "others"),
            year=2018,
            title="Adversarial risk and the dangers of evaluating against weak attacks",
            venue="ICML",
            arxiv="1802.05666",
        ),
    ),
    "simba": (
        Reference(
            key="guo2019simple",
            authors=("Guo", "others"),
            year=2019,
            title="Simple black-box adversarial attacks",
            venue="ICML",
            arxiv="1905.07121",
        ),
    ),
    "onepixel": (
        Reference(
            key="su2019one",
            authors=("Su", "others"),
            year=2019,
            title="One pixel attack for fooling deep neural networks",
            venue="IEEE Transactions on Evolutionary Computation",
            arxiv="1710.08864",
        ),
    ),
    "patch-rs": (
        Reference(
            key="croce2022sparse",
            authors=("Croce", "others"),
            year=2022,
            title="Sparse-RS: a versatile framework for query-efficient sparse black-box adversarial attacks",
            venue="AAAI",
            arxiv="2006.12834",
        ),
    ),
    "auto": (OURS, PARAMETER_FREE),
}
"""Name of an attack -> its sources; one that is not here states its source itself."""
