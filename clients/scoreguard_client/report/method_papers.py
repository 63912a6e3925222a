"""The source of each shipped metric and defence, in the words of its class; a test holds both alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PURIFICATION: Final = (
    "Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)"
)
_NIMA: Final = "Talebi, Milanfar: NIMA: Neural Image Assessment. IEEE Transactions on Image Processing 27(8)"

METRICS: Final[Mapping[str, tuple[str, int]]] = {
    "lite": ("scoreguard's own; trained by `scoreguard-export train lite`", 2026),
    "brisque": (
        "Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain. IEEE TIP 21(12)",
        2012,
    ),
    "brisque-opencv": (
        "Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain. IEEE TIP 21(12)",
        2012,
    ),
    "cnniqa": (
        "Kang, Ye, Li, Doermann: Convolutional Neural Networks for No-Reference Image Quality Assessment. CVPR",
        2014,
    ),
    "nima": (_NIMA, 2018),
    "nima-aesthetic": (_NIMA, 2018),
    "niqe": ("Mittal, Soundararajan, Bovik: Making a Completely Blind Image Quality Analyzer. IEEE SPL 20(3)", 2013),
    "piqe": (
        "Venkatanath N, Praneeth, Maruthi Chandrasekhar, Channappayya, Medasani: Blind Image Quality "
        "Evaluation Using Perception Based Features. NCC",
        2015,
    ),
    "spaq": ("Fang, Zhu, Zeng, Ma, Wang: Perceptual Quality Assessment of Smartphone Photography. CVPR", 2020),
    "meta-iqa": (
        "Zhu, Li, Wu, Dong, Shi: MetaIQA: Deep Meta-learning for No-Reference Image Quality Assessment. CVPR",
        2020,
    ),
    "linearity": (
        "Li, Jiang, Jiang: Norm-in-Norm Loss with Faster Convergence and Better Performance for Image Quality "
        "Assessment. ACM Multimedia (arXiv 2008.03889)",
        2020,
    ),
    "wsp": (
        "Su, Korhonen: Blind Natural Image Quality Prediction Using Convolutional Neural Networks and "
        "Weighted Spatial Pooling. ICIP",
        2020,
    ),
    "vsfa": ("Li, Jiang, Jiang: Quality Assessment of In-the-Wild Videos. ACM Multimedia (arXiv 1908.00375)", 2019),
    "mdtvsfa": (
        "Li, Jiang, Jiang: Unified Quality Assessment of In-the-Wild Videos with Mixed Datasets Training. "
        "International Journal of Computer Vision 129 (arXiv 2011.04263)",
        2021,
    ),
    "rank-iqa": (
        "Liu, van de Weijer, Bagdanov: RankIQA: Learning from Rankings for No-reference Image Quality Assessment. ICCV",
        2017,
    ),
    "fpr": (
        "Chen, Zhu, Kong, Zhu, Wang, Li: No-Reference Image Quality Assessment by Hallucinating Pristine "
        "Features. IEEE Transactions on Image Processing 31",
        2022,
    ),
    "dbcnn": (
        "Zhang, Ma, Yan, Deng, Wang: Blind Image Quality Assessment Using a Deep Bilinear Convolutional "
        "Neural Network. IEEE Transactions on Circuits and Systems for Video Technology 30(1)",
        2020,
    ),
    "hyper-iqa": (
        "Su, Yan, Zhu, Zhang, Ge, Sun, Zhang: Blindly Assess Image Quality in the Wild Guided by a "
        "Self-Adaptive Hyper Network. CVPR",
        2020,
    ),
    "paq2piq": (
        "Ying, Niu, Gupta, Mahajan, Ghadiyaram, Bovik: From Patches to Pictures (PaQ-2-PiQ): Mapping the "
        "Perceptual Space of Picture Quality. CVPR",
        2020,
    ),
    "tres": (
        "Golestaneh, Dadsetan, Kitani: No-Reference Image Quality Assessment via Transformers, Relative "
        "Ranking, and Self-Consistency. WACV",
        2022,
    ),
    "koncept512": (
        "Hosu, Lin, Sziranyi, Saupe: KonIQ-10k: An Ecologically Valid Database for Deep Learning of Blind "
        "Image Quality Assessment. IEEE Transactions on Image Processing 29",
        2020,
    ),
    "nima-inceptionresnetv2": (_NIMA, 2018),
    "nima-vgg16": (_NIMA, 2018),
    "maniqa": (
        "Yang, Wu, Shi, Lao, Gong, Cao, Wang, Yang: MANIQA: Multi-dimension Attention Network for "
        "No-Reference Image Quality Assessment. CVPR Workshops",
        2022,
    ),
    "clip-iqa": ("Wang, Chan, Loy: Exploring CLIP for Assessing the Look and Feel of Images. AAAI", 2023),
    "laion-aesthetic": (
        "Schuhmann: Improved aesthetic predictor (github.com/christophschuhmann/improved-aesthetic-predictor)",
        2022,
    ),
}
"""Name of a metric -> authors, title and place, and the year."""
DEFENCES: Final[Mapping[str, tuple[str, int]]] = {
    "bilateral": (_PURIFICATION, 2024),
    "blur": (_PURIFICATION, 2024),
    "flip": (_PURIFICATION, 2024),
    "jpeg": ("Dziugaite, Ghahramani and Roy: A study of the effect of JPG compression on adversarial images", 2016),
    "median": (_PURIFICATION, 2024),
    "nlm": ("Buades, Coll and Morel: A non-local algorithm for image denoising", 2005),
    "quantise": ("Xu, Evans and Qi: Feature squeezing: detecting adversarial examples in deep neural networks", 2018),
    "resize": (_PURIFICATION, 2024),
    "tv": ("Chambolle: An algorithm for total variation minimization and applications", 2004),
    "unsharp": (_PURIFICATION, 2024),
    "upscale": (_PURIFICATION, 2024),
    "wavelet": ("Chang, Yu and Vetterli: Adaptive wavelet thresholding for image denoising and compression", 2000),
    "crop": (_PURIFICATION, 2024),
    "noise": (
        "Gushchin et al.: Guardians of Image Quality: Benchmarking Defenses Against Adversarial Attacks on "
        "Image Quality Metrics (arXiv 2408.01541)",
        2024,
    ),
    "rotate": (_PURIFICATION, 2024),
    "denoiser": ("scoreguard's own; trained by `scoreguard-export train diffusion`", 2026),
    "diffpure": (
        "Nie, Guo, Huang, Xiao, Vahdat, Anandkumar: Diffusion models for adversarial purification. ICML",
        2022,
    ),
    "diffpure-edge": (_PURIFICATION, 2024),
    "diffpure-unsharp": (_PURIFICATION, 2024),
    "fcn-filter": (_PURIFICATION, 2024),
    "bfcnn": (
        "Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda: Robust and interpretable blind image denoising via "
        "bias-free convolutional neural networks. ICLR (arXiv 1906.05478)",
        2020,
    ),
    "carn": (
        "Ahn, Kang, Sohn: Fast, accurate, and lightweight super-resolution with cascading residual network. "
        "ECCV (arXiv 1803.08664)",
        2018,
    ),
    "fbcnn": ("Jiang, Zhang, Timofte: Towards flexible blind JPEG artifacts removal. ICCV (arXiv 2109.14573)", 2021),
    "ffdnet": (
        "Zhang, Zuo, Zhang: FFDNet: Toward a fast and flexible solution for CNN-based image denoising. IEEE "
        "Transactions on Image Processing 27(9) (arXiv 1710.04026)",
        2018,
    ),
    "mprnet": (
        "Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: Multi-stage progressive image restoration. CVPR (arXiv "
        "2102.02808)",
        2021,
    ),
    "realesrgan": (
        "Wang, Xie, Dong, Shan: Real-ESRGAN: Training real-world blind super-resolution with pure synthetic "
        "data. ICCV Workshops (arXiv 2107.10833)",
        2021,
    ),
}
"""Name of a defence -> the same."""
