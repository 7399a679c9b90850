# One image, all programs. Build: docker build -t cerebros .
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p cerebros -p producer -p bridge-worker -p mlflow-sink -p dlq-classifier \
    && mkdir -p /out \
    && cp target/release/cerebros target/release/producer target/release/bridge-worker \
          target/release/mlflow-sink target/release/dlq-classifier /out/

# The trainer's packages come from the same locked, hash-checked list that the local stack installs.
FROM python:3.13-slim-bookworm AS python
COPY python/requirements/trainer.txt /tmp/trainer.txt
RUN python -m venv /opt/trainer \
    && /opt/trainer/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/trainer.txt

FROM python:3.13-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/cerebros cerebros
COPY --from=python /opt/trainer /opt/trainer
COPY --from=build /out/ /usr/local/bin/
USER 10001
WORKDIR /var/lib/cerebros
ENV CEREBROS_DATA_DIR=/var/lib/cerebros \
    CEREBROS_PYTHON=/opt/trainer/bin/python \
    CEREBROS_LOG_FORMAT=json
VOLUME /var/lib/cerebros
ENTRYPOINT ["/usr/local/bin/cerebros"]
CMD ["--help"]
