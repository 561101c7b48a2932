# Never built here: no engine runs on the machine this is written on. Its RUN and CMD lines are
# replayed by a test in a temporary folder, and hadolint reads it.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock gateway.toml ./
COPY src ./src
COPY examples/demo ./examples/demo
RUN cargo build --release --locked --bin portcullis

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/portcullis /usr/local/bin/portcullis
# The image's own "nonroot", by its number: a host can check that it is not root.
USER 65532:65532
EXPOSE 8080 8443
HEALTHCHECK --interval=10s --timeout=3s CMD ["portcullis", "healthcheck"]
ENTRYPOINT ["portcullis"]
CMD ["run"]
