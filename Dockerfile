# The image: what packaging/rootfs.sh puts together, and nothing else.

# Has BuildKit list the crates of Cargo.lock in the bill of materials (SBOM), beside the packages in the image.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

# Add @sha256:… to pin it. (Not by an ARG: hadolint does not look into those.)
FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies, a layer that stays as long as the manifests and Cargo.lock do. Cargo reads the manifests of the whole
# workspace and wants a file for every target, so each gets an empty program. What was built of those is removed again:
# the sources that come next may be older, and cargo would take the empty program for up to date.
COPY Cargo.toml Cargo.lock ./
COPY tests/demo/Cargo.toml tests/demo/
COPY tests/kit/Cargo.toml tests/kit/
RUN for file in src/lib.rs tests/demo/src/main.rs tests/kit/src/lib.rs \
            $(sed -n 's/^path = "\(.*\.rs\)"$/\1/p' Cargo.toml); do \
        mkdir -p "${file%/*}" && echo 'fn main() {}' >"$file" || exit; \
    done && \
    cargo build --release --locked --bin broadcaster && \
    cargo clean --release --locked --package broadcaster

# The commit of the sources, which --version names.
ARG REVISION=unknown
COPY build.rs ./
COPY packaging/layout.ld packaging/
COPY src src
RUN BROADCASTER_COMMIT=$(printf %.9s "$REVISION") cargo build --release --locked --bin broadcaster

# The same time for all files, so that the same sources give the same image.
ARG SOURCE_DATE_EPOCH=0
COPY LICENSE ./
COPY packaging/rootfs.sh packaging/
RUN packaging/rootfs.sh target/release/broadcaster /rootfs

FROM scratch
COPY --from=build /rootfs /

# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 1001:1001

# For `kubectl exec` of a command.
ENV PATH=/usr/bin

# The API, and the metrics.
EXPOSE 8002 7777

# In this form the daemon is process 1, and gets the signals. There is no HEALTHCHECK: Kubernetes and compose probe by
# `broadcaster health`, each with its own times.
ENTRYPOINT ["/usr/bin/broadcaster"]

ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
LABEL org.opencontainers.image.title="broadcaster" \
      org.opencontainers.image.description="Takes messages from NATS and delivers each one to an HTTP webhook" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
