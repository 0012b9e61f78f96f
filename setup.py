"""Packaging of recbole_mgr. ``properties/`` stands beside the package in a checkout and ships inside it."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "recbole_mgr" / "version.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

# RecBole 1.2.1 is needed and not named here: its requirement ray<=2.6.3 has no wheel for Python 3.12 and newer, and is
# not used. It is installed without its requirements (README); what it imports stands in this list.
RECBOLE_NEEDS = [
    "colorama==0.4.4",
    "colorlog==4.7.2",
    "pandas>=2.2,<4",
    "psutil>=5.9",
    "scipy>=1.11,<2",
    "tensorboard>=2.17",
    "texttable>=1.7",
    "thop>=0.1.1.post2209072238,<0.2",
]

SERVE = [
    "fastapi>=0.132,<1",
    "starlette>=0.46,<2",
    "uvicorn>=0.30,<1",
    "httptools>=0.6,<1",  # by which uvicorn reads requests in a third less time
    "prometheus-client>=0.20,<1",
]  # recbole-mgr serve
DOCS = ["mkdocs-material>=9.5,<10", "mkdocstrings>=0.26,<2", "mkdocstrings-python>=1.11,<3"]  # the site
TUNE = ["optuna>=4.2,<6"]  # recbole-mgr tune
ONNX = ["onnx>=1.17,<2", "onnxruntime>=1.20,<2", "onnxscript>=0.5,<1"]  # recbole-mgr export --onnx
TEST = [
    *("pytest>=7.4", "hyperopt>=0.2.7,<0.4", "hypothesis>=6.100", "networkx>=3.1", "playwright>=1.40"),
    "pytest-xdist>=3.5",
    *("httpx>=0.27,<1", *SERVE, *TUNE, *ONNX),
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
        "recbole_mgr.reporting.pages": ["templates/*.html", "assets/*.css", "assets/scripts/*.js"],
        "recbole_mgr.properties": ["*.yaml", "model/*.yaml", "dataset/*.yaml", "experiments/*.yaml", "preset/*.yaml"],
    },
    # CONTRIBUTING.md says how bounds are chosen.
    install_requires=[
        "torch>=2.4,<2.14",  # first: uv chooses its lowest version before that of torchvision, which needs one torch
        *RECBOLE_NEEDS,
        "annotated-types>=0.6,<1",
        "diffusers>=0.32,<1",
        "huggingface_hub>=0.34,<3",
        "jinja2>=3.1",
        "markupsafe>=2.1",
        "numpy>=1.26,<3",
        "open_clip_torch>=2.24,<4",
        "packaging>=23",
        "peft>=0.17,<1",
        "pillow>=10.3",
        "plotly>=5.18",
        "polars>=1.44,<3",
        "pydantic>=2.9,<3",
        "pyyaml>=6.0.1",
        "requests>=2.31",
        "rouge-score>=0.1.2",
        "sacrebleu>=2.4",
        "safetensors>=0.4.3",
        "scikit-learn>=1.4",
        "tokenizers>=0.22,<1",
        "tqdm>=4.66",
        "transformers>=4.56,<5.40",
        "urllib3>=2",
    ],
    extras_require={
        "gguf": ["gguf>=0.10", "accelerate>=0.34"],  # language models in .gguf files
        "serve": SERVE,
        "tune": TUNE,
        "onnx": ONNX,
        "docs": DOCS,
        "test": TEST,
        "dev": [*TEST, "ruff>=0.6", "uv>=0.5"],
    },
    entry_points={"console_scripts": ["recbole-mgr=recbole_mgr.cli.main:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
