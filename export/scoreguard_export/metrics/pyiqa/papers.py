"""The paper behind each network of pyiqa, by the name of its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PAPERS: Final[Mapping[str, tuple[str, int]]] = {
    "AFINE": ("Chen et al.: Toward Generalized Image Quality Assessment: Relaxing the Perfect Reference. CVPR", 2025),
    "ARNIQA": ("Agnolucci et al.: ARNIQA: Learning Distortion Manifold for Image Quality Assessment. WACV", 2024),
    "BRISQUE": ("Mittal et al.: No-Reference Image Quality Assessment in the Spatial Domain. IEEE TIP", 2012),
    "CFANet": ("Chen et al.: TOPIQ: A Top-down Approach from Semantics to Distortions for IQA. IEEE TIP", 2024),
    "CLIPIQA": ("Wang, Chan, Loy: Exploring CLIP for Assessing the Look and Feel of Images. AAAI", 2023),
    "CLIPScore": ("Hessel et al.: CLIPScore: A Reference-free Metric for Image Captioning. EMNLP", 2021),
    "CNNIQA": ("Kang et al.: Convolutional Neural Networks for No-Reference Image Quality Assessment. CVPR", 2014),
    "Compare2Score": ("Zhu et al.: Adaptive Image Quality Assessment via Teaching LMMs to Compare. NeurIPS", 2024),
    "DBCNN": ("Zhang et al.: Blind IQA Using a Deep Bilinear Convolutional Neural Network. IEEE TCSVT", 2020),
    "Entropy": ("Shannon: A Mathematical Theory of Communication. Bell System Technical Journal", 1950),
    "HyperNet": ("Su et al.: Blindly Assess Image Quality in the Wild Guided by a Hyper Network. CVPR", 2020),
    "LAIONAes": ("Schuhmann: Improved Aesthetic Predictor, on CLIP ViT-L/14. LAION", 2022),
    "LIQE": ("Zhang et al.: Blind IQA via Vision-Language Correspondence. CVPR", 2023),
    "MANIQA": ("Yang et al.: MANIQA: Multi-dimension Attention Network for No-Reference IQA. CVPR Workshops", 2022),
    "MetaIQA": ("Zhu et al.: MetaIQA: Deep Meta-learning for No-Reference Image Quality Assessment. CVPR", 2020),
    "MUSIQ": ("Ke et al.: MUSIQ: Multi-scale Image Quality Transformer. ICCV", 2021),
    "NIMA": ("Talebi, Milanfar: NIMA: Neural Image Assessment. IEEE TIP", 2018),
    "NIQE": ("Mittal, Soundararajan, Bovik: Making a Completely Blind Image Quality Analyzer. IEEE SPL", 2013),
    "PAQ2PIQ": ("Ying et al.: From Patches to Pictures (PaQ-2-PiQ). CVPR", 2020),
    "PIQE": ("Venkatanath et al.: Blind Image Quality Evaluation Using Perception Based Features. NCC", 2015),
    "QualiCLIP": ("Agnolucci et al.: Quality-Aware Image-Text Alignment for Opinion-Unaware IQA. arXiv", 2024),
    "TReS": ("Golestaneh et al.: No-Reference IQA via Transformers, Relative Ranking, Self-Consistency. WACV", 2022),
    "UNIQUE": ("Zhang et al.: Uncertainty-Aware Blind IQA in the Laboratory and Wild. IEEE TIP", 2021),
    "URanker": ("Guo et al.: Underwater Ranker: Learn Which Is Better and How to Be Better. AAAI", 2023),
    "WaDIQaM": ("Bosse et al.: Deep Neural Networks for No-Reference and Full-Reference IQA. IEEE TIP", 2018),
}
"""Authors, title and place, and the year."""


def paper_of(network: str, year: int) -> tuple[str, int]:
    """Return the paper of a network and its year; for one that is not listed, pyiqa itself.

    Args:
        network: Name of its class.
        year: Of the version of pyiqa.
    """
    return PAPERS.get(network, (f"Chen, Mo: IQA-PyTorch (pyiqa), network {network}", year))
