"""Packaging of recbole_mgr. ``properties/`` stands beside the package in a checkout and ships inside it."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "recbole_mgr" / "version.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

# What RecBole 1.2.1 itself imports. Its requirement ray<=2.6.3 has no wheel for Python 3.12 and newer, so there the
# user installs recbole with --no-deps first (README) and the rest is named here.
RECBOLE_NEEDS = [
    "scipy",
    "pandas<4",
    "tqdm",
    "colorlog==4.7.2",
    "colorama==0.4.4",
    "scikit-learn",
    "tensorboard",
    "thop",
    "plotly",
    "texttable",
    "psutil",
]

setup(
    name="recbole_mgr",
    version=VERSION,
    description="Multimodal generative recommendation for RecBole: TIGER, MGR-EF, MGR-LF, MGR-LF++, UniMP",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=[*find_packages(include=["recbole_mgr", "recbole_mgr.*"]), "recbole_mgr.properties"],
    package_dir={"recbole_mgr.properties": "properties"},
    package_data={
        "recbole_mgr.reporting.pages": ["templates/*.html", "assets/*"],
        "recbole_mgr.properties": ["*.yaml", "model/*.yaml", "dataset/*.yaml", "experiments/*.yaml"],
    },
    install_requires=[
        'recbole==1.2.1; python_version < "3.12"',
        *(f'{need}; python_version >= "3.12"' for need in RECBOLE_NEEDS),
        "torch>=2.4,<2.14",
        "transformers>=4.56",
        "tokenizers>=0.22",
        "peft>=0.17",
        "diffusers>=0.32",
        "sacrebleu>=2.4",
        "rouge-score>=0.1.2",
        "open_clip_torch>=2.24",
        "annotated-types>=0.6",
        "pydantic>=2.8",
        "pyyaml>=6",
        "numpy>=1.24",
        "pillow>=9",
        "jinja2>=3.1",
        "plotly>=5.18",
        "pandas<4",
        "scikit-learn>=1.1",
        "polars>=1.44",
        "requests",
        "safetensors>=0.4",
        "tqdm",
    ],
    extras_require={
        "gguf": ["gguf>=0.10", "accelerate>=0.26"],  # language models in .gguf files
        "test": ["pytest>=7", "hyperopt>=0.2.7", "playwright>=1.40"],
        "dev": ["pytest>=7", "hyperopt>=0.2.7", "ruff>=0.6"],
    },
    entry_points={"console_scripts": ["recbole-mgr=recbole_mgr.cli.main:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
