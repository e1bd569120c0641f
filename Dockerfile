# docker build -t vidcomp .                                  for CPUs
# docker build -t vidcomp:cuda --build-arg DEVICE=cuda .     for NVIDIA GPUs, which `docker run --gpus all` lends it
# docker run --rm -v "$PWD:/work" vidcomp classify videos/ --output labels.jsonl
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# KubeRay looks after Ray's processes by wget.
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*

ARG DEVICE=cpu
WORKDIR /opt/vidcomp
COPY constraints.txt ./
# PyPI's torch for Linux brings CUDA along, some gigabytes of it.
RUN if [ "$DEVICE" = cpu ]; then set -- --index-url https://download.pytorch.org/whl/cpu; else set --; fi; \
    pip install --no-cache-dir --constraint constraints.txt "$@" torch torchvision
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY models models
COPY vidcomp vidcomp
RUN pip install --no-cache-dir --constraint constraints.txt '.[ray]' 'ray[default]' s3fs gcsfs

RUN useradd --create-home --uid 1000 vidcomp
USER vidcomp
ENV RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
WORKDIR /work
# Not an entry point: KubeRay starts `ray start` in the same image.
CMD ["vidcomp", "--help"]
