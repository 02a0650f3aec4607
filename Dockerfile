# syntax=docker/dockerfile:1
#
# The image of Baton: docker build --tag registry.example.com/baton:0.1.0 .
#
# It holds one program, which is every service (`serve task`), the migration (`migrate`) and the operator's commands
# (`doctor`, `keys`). The manifests in k8s/ say by `args` which of them a pod runs.

FROM rust:1.95-bookworm AS build
# protoc, with the types of google/protobuf, which Debian packs apart.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY proto proto
COPY crates crates
COPY services services
COPY gateway gateway
COPY tests tests
COPY migrations migrations
COPY .sqlx .sqlx
# Queries are checked against the committed .sqlx, not against a database. Caches are no part of a layer, so the
# program is moved out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    SQLX_OFFLINE=true cargo build --release --locked -p baton \
    && cp target/release/baton /baton

# glibc, libgcc and the certificates of public authorities; no shell, no package manager. To look inside a running
# pod: kubectl debug --image=debian:bookworm-slim --target=baton.
FROM gcr.io/distroless/cc-debian12:nonroot AS baton
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Baton" \
      org.opencontainers.image.description="A multi-tenant task platform for organisations" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /baton /baton
# `nonroot`, as a number: Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/baton"]
