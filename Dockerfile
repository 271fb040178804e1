# docker build -t sb3-atari-dqn .                          # PyTorch for the CPU
# docker build -t sb3-atari-dqn --build-arg TORCH=cu130 .  # for NVIDIA GPUs
# docker run --rm -v "$PWD/logs:/home/player/sb3-atari-dqn/logs" sb3-atari-dqn make train GAME=Pong
# with a GPU: docker run --gpus all ...; the folder logs must be writable for user 1000
FROM python:3.12-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 player
USER 1000
WORKDIR /home/player/sb3-atari-dqn
COPY --chown=1000:1000 . .
ARG TORCH=cpu
RUN make setup TORCH="$TORCH" && mkdir logs
CMD ["make"]
